// retrace: the command line. Exit code 0; 1 when something failed; 2 for wrong usage.
#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <exception>
#include <new>
#include <sstream>
#include <string>
#include <system_error>

#include "kernels/error.h"
#include "tools/commands/commands.h"
#include "tools/console.h"

namespace {

// Where standard input, output or error is closed, the next file opened would take its number, and results or
// messages would end up in that file. Something that can be neither read nor written takes it instead.
void hold_standard_streams() {
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)!::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

int main(int argc, char** argv) {
  hold_standard_streams();
  using namespace retrace;
  CLI::App program{
      "Runs image classifiers on handwritten kernels and traces each decision back to the pixels."};
  program.name("retrace");
  program.set_version_flag("--version", RETRACE_VERSION);
  program.require_subcommand(1);
  const tools::Arguments arguments(program);
  const std::vector<tools::Command> commands{tools::add_devices(arguments),     tools::add_models(arguments),
                                             tools::add_inspect(arguments),     tools::add_import(arguments),
                                             tools::add_classify(arguments),    tools::add_explain(arguments),
                                             tools::add_activations(arguments), tools::add_train(arguments),
                                             tools::add_evaluate(arguments),    tools::add_data(arguments)};
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      std::string what = error.what(), command = "retrace";
      for (const CLI::App* sub : program.get_subcommands()) command += " " + sub->get_name();
      if (program.get_subcommands().empty()) {
        what =
            argc > 1 ? "'" + std::string(argv[1]) + "': expected a command:" : "no command given: expected";
        for (const tools::Command& c : commands)
          what += (&c == &commands.front() ? " " : ", ") + c.arguments.name();
      }
      tools::print_error(what + " (see " + command + " --help)");
      return 2;
    }
    // Help and version are results like any other.
    std::ostringstream text, none;
    program.exit(error, text, none);
    try {
      tools::Console().result(text.str());
    } catch (const tools::OutputClosed& closed) {
      tools::print_error(closed.what());
      return 1;
    }
    return 0;
  }
  try {
    for (const tools::Command& command : commands) {
      if (command.arguments.parsed()) return command.run();
    }
  } catch (const UsageError& error) {
    tools::print_error(error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    tools::print_error("no memory left on the host");
    return 1;
  } catch (const std::system_error& error) {
    // A thread that could not be started says only "Resource temporarily unavailable".
    const bool exhausted = error.code() == std::errc::resource_unavailable_try_again;
    tools::print_error(exhausted
                           ? "no memory for another thread on the host, or too many of them (see --threads)"
                           : error.what());
    return 1;
  } catch (const std::exception& error) {
    tools::print_error(error.what());
    return 1;
  }
  return 2;
}

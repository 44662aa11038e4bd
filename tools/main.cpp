// retrace: the command line. Exit code 0; 1 when something failed; 2 for wrong usage.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "kernels/error.h"
#include "tools/commands/commands.h"

int main(int argc, char** argv) {
  using namespace retrace;
  CLI::App program{"Runs image classifiers on handwritten kernels and traces each decision back to the pixels."};
  program.name("retrace");
  program.set_version_flag("--version", RETRACE_VERSION);
  program.require_subcommand(1);
  const std::vector<tools::Command> commands{
      tools::add_devices(program),  tools::add_models(program),  tools::add_inspect(program),
      tools::add_import(program),   tools::add_classify(program), tools::add_explain(program),
      tools::add_activations(program)};
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  }
  try {
    for (const tools::Command& command : commands) {
      if (command.app->parsed()) {
        const int code = command.run();
        // A full disk or a closed pipe shows only when the last bytes are pushed out.
        if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw Error("standard output: it cannot be written");
        return code;
      }
    }
  } catch (const UsageError& error) {
    fmt::print(stderr, "retrace: error: {}\n", error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "retrace: error: no memory left on the host\n");
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "retrace: error: {}\n", error.what());
    return 1;
  }
  return 2;
}

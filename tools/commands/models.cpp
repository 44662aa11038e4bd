#include <fmt/format.h>

#include "engine/models/model.h"
#include "tools/commands/commands.h"
#include "tools/console.h"

namespace retrace::tools {

Command add_models(const Arguments& program) {
  const Arguments arguments =
      program.command("models", "List the architectures that weights can be loaded into");
  return {arguments, [] {
            Console console;
            for (const ModelInfo& m : model_catalog()) {
              long long parameters = 0;
              for (const ParameterSpec& spec : model_parameters(m.name)) {
                const bool running = spec.name.find("running_") != std::string::npos;
                long long count = running ? 0 : 1;
                for (const auto d : spec.shape) count *= d;
                parameters += count;
              }
              console.result(fmt::format("{:<16} {:>6.2f} M parameters  {}\n", m.name,
                                         double(parameters) / 1e6, m.description));
            }
            return 0;
          }};
}

}  // namespace retrace::tools

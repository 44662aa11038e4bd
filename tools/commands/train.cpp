#include <memory>

#include "tools/commands/commands.h"
#include "tools/console.h"
#include "tools/train/run.h"

namespace retrace::tools {

Command add_train(const Arguments& program) {
  const Arguments arguments = program.command("train", "Train a model on labelled pictures");
  auto settings = std::make_shared<TrainSettings>();
  settings->add_to(arguments);
  return {arguments, [settings] {
            Console console(settings->common.quiet);
            return run_training(*settings, console);
          }};
}

}  // namespace retrace::tools

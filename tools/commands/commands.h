// The subcommands. Each adds itself to the program and returns, when run, the exit code.
#pragma once
#include <functional>

#include "tools/arguments.h"

namespace retrace::tools {

struct Command {
  Arguments arguments;
  std::function<int()> run;
};

Command add_devices(const Arguments& program);
Command add_models(const Arguments& program);
Command add_inspect(const Arguments& program);
Command add_import(const Arguments& program);
Command add_classify(const Arguments& program);
Command add_explain(const Arguments& program);
Command add_activations(const Arguments& program);
Command add_train(const Arguments& program);
Command add_data(const Arguments& program);
Command add_evaluate(const Arguments& program);

}  // namespace retrace::tools

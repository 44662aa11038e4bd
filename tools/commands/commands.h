// The subcommands. Each adds itself to the program and returns, when run, the exit code.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <vector>

namespace retrace::tools {

struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

Command add_devices(CLI::App& program);
Command add_models(CLI::App& program);
Command add_inspect(CLI::App& program);
Command add_import(CLI::App& program);
Command add_classify(CLI::App& program);
Command add_explain(CLI::App& program);
Command add_activations(CLI::App& program);
Command add_train(CLI::App& program);
Command add_data(CLI::App& program);
Command add_evaluate(CLI::App& program);

}  // namespace retrace::tools

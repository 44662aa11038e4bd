// The command line's options, as CLI11 reads them. CLI11 is one large header: only arguments.cpp and main.cpp include it,
// for it takes longer to compile than all that a command does.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace retrace::tools {

// An option or a positional argument that has been added: what else holds for it.
class Argument {
 public:
  explicit Argument(CLI::Option& option) : option_(&option) {}
  Argument& required();
  Argument& shows_default();            // in the help
  Argument& within(int low, int high);  // both included
  Argument& above_zero();
  Argument& zero_or_more();
  Argument& one_of(const std::vector<std::string>& words);
  Argument& finite();            // CLI11 reads "nan" and "inf" as numbers
  Argument& three_numbers();     // separated by commas or spaces
  Argument& list();              // separated by commas
  Argument& one_value_a_time();  // repeatable; what follows the value is a positional argument
  // Whether the user gave it, once the command line is read.
  bool given() const;

 private:
  CLI::Option* option_;
};

// The program or one of its commands.
class Arguments {
 public:
  explicit Arguments(CLI::App& app) : app_(&app) {}
  Arguments command(const char* name, const char* help) const;
  // "--name", or "name" for a positional argument; `value` is set when the command line is read and has the default before.
  // T: std::string, std::filesystem::path, a vector of either, an int of 32 or 64 bits, float, double, vector of float.
  template <typename T>
  Argument add(const char* name, T& value, const char* help) const;
  void flag(const char* name, bool& value, const char* help) const;
  std::string name() const;
  // Whether the command line asked for this command.
  bool parsed() const;

 private:
  CLI::App* app_;
};

}  // namespace retrace::tools

#include "tools/arguments.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdint>
#include <filesystem>

namespace retrace::tools {

Argument& Argument::required() {
  option_->required();
  return *this;
}

Argument& Argument::shows_default() {
  option_->capture_default_str();
  return *this;
}

Argument& Argument::within(int low, int high) {
  option_->check(CLI::Range(low, high));
  return *this;
}

Argument& Argument::above_zero() {
  option_->check(CLI::PositiveNumber);
  return *this;
}

Argument& Argument::zero_or_more() {
  option_->check(CLI::NonNegativeNumber);
  return *this;
}

Argument& Argument::one_of(const std::vector<std::string>& words) {
  option_->check(CLI::IsMember(words));
  return *this;
}

Argument& Argument::finite() {
  option_->check([](const std::string& text) {
    float value = 0;
    return CLI::detail::lexical_cast(text, value) && std::isfinite(value)
               ? std::string()
               : "'" + text + "' is not a finite number";
  });
  return *this;
}

Argument& Argument::three_numbers() {
  option_->expected(3)->delimiter(',');
  return *this;
}

Argument& Argument::list() {
  option_->delimiter(',');
  return *this;
}

Argument& Argument::one_value_a_time() {
  option_->allow_extra_args(false);
  return *this;
}

bool Argument::given() const {
  return option_->count() > 0;
}

Arguments Arguments::command(const char* name, const char* help) const {
  return Arguments(*app_->add_subcommand(name, help));
}

template <typename T>
Argument Arguments::add(const char* name, T& value, const char* help) const {
  return Argument(*app_->add_option(name, value, help));
}

void Arguments::flag(const char* name, bool& value, const char* help) const {
  app_->add_flag(name, value, help);
}

std::string Arguments::name() const {
  return app_->get_name();
}

bool Arguments::parsed() const {
  return app_->parsed();
}

template Argument Arguments::add(const char*, std::string&, const char*) const;
template Argument Arguments::add(const char*, std::filesystem::path&, const char*) const;
template Argument Arguments::add(const char*, std::vector<std::string>&, const char*) const;
template Argument Arguments::add(const char*, std::vector<std::filesystem::path>&, const char*) const;
template Argument Arguments::add(const char*, std::vector<float>&, const char*) const;
template Argument Arguments::add(const char*, std::int32_t&, const char*) const;
template Argument Arguments::add(const char*, std::int64_t&, const char*) const;
template Argument Arguments::add(const char*, std::uint64_t&, const char*) const;
template Argument Arguments::add(const char*, float&, const char*) const;
template Argument Arguments::add(const char*, double&, const char*) const;

}  // namespace retrace::tools

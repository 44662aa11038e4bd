// Reading "key=value,flag,…".
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace retrace::data {

// The options of one text, asked for one by one. Every complaint is a UsageError that begins with `subject`.
class Options {
 public:
  // Throws for an empty piece or an option given twice.
  Options(std::string subject, const std::string& text);

  std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t least, std::int64_t most);
  std::uint64_t unsigned_integer(const std::string& key, std::uint64_t otherwise);
  float real(const std::string& key, float otherwise, float least, float most);
  // "3" or "1-5", with least ≤ first ≤ second ≤ most.
  std::pair<int, int> range(const std::string& key, std::pair<int, int> otherwise, int least, int most);
  std::string one_of(const std::string& key, const std::string& otherwise,
                     std::span<const std::string> choices);
  bool flag(const std::string& key);
  // Throws if an option is left that nobody asked for, naming those that were.
  void finish() const;

 private:
  struct Option {
    std::string key, value;
    bool has_value = false, used = false;
  };
  // The value of `key`, or null where it is not given.
  const std::string* take(const std::string& key, const std::string& form);
  [[noreturn]] void fail(const std::string& what) const;

  std::string subject_;
  std::vector<Option> options_;
  std::vector<std::string> known_;
};

// Splits "FOLDER,key=value,…" into the folder and the options' text. Only options of these keys are cut off, from the
// end, so that a folder's name may have commas.
std::pair<std::string, std::string> split_folder(const std::string& text, std::span<const std::string> keys);

}  // namespace retrace::data

#include "weights/strict_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {

using nlohmann::json;

namespace {

constexpr std::size_t max_depth = 8;  // a safetensors header has three levels
// A byte or two of text each becomes a hundred. Shapes have few numbers, metadata few entries; the index of the largest
// networks, in hundreds of files, names under 100 000 tensors.
constexpr std::size_t max_array = 4096, max_members = 200'000;

// Builds the tree itself: nlohmann's own builder with a callback, which could refuse keys too, looks through all of an
// object's members at the end of each of them.
class Builder : public nlohmann::json_sax<json> {
 public:
  using Fail = std::function<void(const std::string&)>;
  Builder(Fail fail, const JsonMember& member) : fail_(std::move(fail)), done_(member) {}
  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(json::number_integer_t value) override { return add(value); }
  bool number_unsigned(json::number_unsigned_t value) override { return add(value); }
  bool number_float(json::number_float_t value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(json::binary_t& value) override { return add(std::move(value)); }  // JSON's text has none
  bool start_object(std::size_t) override { return open(json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    const auto [at, fresh] = open_.back()->get_ref<json::object_t&>().try_emplace(std::move(name));
    if (!fresh) fail_(fmt::format(": key {} stands twice", quote(at->first)));
    if (open_.size() > 1 && open_.back()->size() > max_members) {
      fail_(fmt::format(": an object has more than {} members", max_members));
    }
    member_ = &at->second;
    if (open_.size() == 1) {
      name_ = &at->first;
      outer_ = member_;
    }
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    fail_(fmt::format(" is not valid JSON: {}", quote(error.what())));
    return false;
  }

 private:
  // Puts a value where the text is, and returns where it lies. What is open does not move: it is its parent's last member.
  json* put(json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_array()) {
      if (open_.back()->size() == max_array)
        fail_(fmt::format(": an array has more than {} elements", max_array));
      return &open_.back()->emplace_back(std::move(value));
    }
    return &(*member_ = std::move(value));
  }
  template <typename T>
  bool add(T value) {
    put(std::move(value));
    return hand_over();
  }
  bool open(json value) {
    if (open_.size() == max_depth) fail_(" is nested too deep");
    open_.push_back(put(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return hand_over();
  }
  // Gives a member of the outermost object away, when it is whole; its name stays, so that a second one is seen.
  bool hand_over() {
    if (!done_ || open_.size() != 1 || !root_.is_object()) return true;
    done_(*name_, *outer_);
    *outer_ = nullptr;
    return true;
  }

  Fail fail_;
  const JsonMember& done_;
  json root_;
  std::vector<json*> open_;            // objects and arrays that have not ended, outermost first
  json* member_ = nullptr;             // of the innermost object: the one whose key was read last
  const std::string* name_ = nullptr;  // of the outermost object's such member
  json* outer_ = nullptr;              // and its value
};

}  // namespace

json parse_json_object(std::span<const std::byte> text, const std::string& where, const std::string& what,
                       const JsonMember& member) {
  const auto fail = [&](const std::string& why) { throw Error(fmt::format("{}: {}{}", where, what, why)); };
  if (text.size() > max_json)
    fail(fmt::format(" takes {} bytes, at most {} are read", text.size(), max_json));
  // nlohmann takes a zero byte for the end, whatever follows.
  if (const auto zero = std::find(text.begin(), text.end(), std::byte{0}); zero != text.end()) {
    fail(fmt::format(" is not valid JSON: it holds a zero byte at {}", zero - text.begin()));
  }
  Builder builder(fail, member);
  const char* const begin = reinterpret_cast<const char*>(text.data());
  json::sax_parse(begin, begin + text.size(), &builder);  // a wrong text has made parse_error() throw
  json parsed = builder.take();
  if (!parsed.is_object()) fail(fmt::format(" is a JSON {}, expected an object", parsed.type_name()));
  return parsed;
}

bool is_utf8(const std::string& text) {
  try {
    (void)json(text).dump();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

std::string json_list(const std::vector<std::string>& texts) {
  return json(texts).dump();
}

std::optional<std::vector<std::string>> read_json_list(const std::string& text) {
  const json list = json::parse(text, nullptr, false);
  const auto is_text = [](const json& element) { return element.is_string(); };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_text)) return std::nullopt;
  return list.get<std::vector<std::string>>();
}

}  // namespace retrace::weights

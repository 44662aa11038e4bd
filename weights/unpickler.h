// The pickle machine: a stack, marks, a memo. Used through unpickle() in weights/pickle.h.
#pragma once
#include <unordered_map>

#include "weights/pickle.h"
#include "weights/pickle_stream.h"

namespace retrace::weights {

class Unpickler {
 public:
  Unpickler(std::span<const std::byte> bytes, const std::string& where, const PickleObjects* known,
            PickleDialect dialect)
      : in_(bytes, where),
        where_(where),
        known_(known),
        dialect_(dialect),
        most_nodes_(most_nodes(bytes.size())) {}
  Pickle run();

 private:
  // unpickler.cpp: opcodes that move data.
  bool step(int opcode);  // false at STOP
  bool push_literal(int opcode);
  bool push_container(int opcode);
  bool use_memo(int opcode);

  PickleNode& node(PickleRef ref) { return out_.nodes[ref]; }
  PickleRef make(PickleNode node);
  PickleRef make(PickleKind kind, std::int64_t integer = 0);
  PickleRef make_text(PickleKind kind, std::string_view text);
  PickleRef make_items(PickleKind kind, std::vector<PickleRef> items);
  void push(PickleRef ref);
  PickleRef pop();
  PickleRef& top();
  std::vector<PickleRef> pop_to_mark();
  void remember(std::uint64_t key, PickleRef ref);
  void put_items(PickleRef target, PickleKind wanted, const std::vector<PickleRef>& items);

  // unpickler_objects.cpp: opcodes that would make objects in Python.
  void push_global(std::string_view module, std::string_view name);
  PickleRef reduce(PickleRef callee, PickleRef arguments);
  void build(PickleRef target, PickleRef state);
  PickleRef make_storage(PickleRef id);
  PickleRef find_tensor(PickleRef id);
  PickleRef make_tensor(PickleName name, const std::vector<PickleRef>& arguments);
  bool is_negative(PickleRef metadata);
  PickleRef make_dict(const std::vector<PickleRef>& arguments);
  std::int64_t integer(PickleRef ref, const char* what);
  std::vector<std::int64_t> integers(PickleRef ref, const char* what);
  void need(bool condition, const char* what);
  // Counts items copied from one container to another: with the memo, a few bytes can ask for a large copy.
  void charge(std::size_t items);

  static std::size_t most_nodes(std::size_t bytes);
  void refuse_double_keys() const;

  PickleStream in_;
  const std::string& where_;
  const PickleObjects* known_;  // may be null
  PickleDialect dialect_;
  std::size_t most_nodes_;
  Pickle out_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickleRef> memo_;
  std::size_t copied_ = 0;
};

}  // namespace retrace::weights

#include "weights/unpickler.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <system_error>
#include <unordered_set>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

// Opcodes by their names in pickletools.
enum Opcode : int {
  MARK = '(',
  STOP = '.',
  POP = '0',
  POP_MARK = '1',
  DUP = '2',
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  INT = 'I',
  NONE = 'N',
  BINPERSID = 'Q',
  REDUCE = 'R',
  BINSTRING = 'T',
  SHORT_BINSTRING = 'U',
  BINUNICODE = 'X',
  BINFLOAT = 'G',
  APPEND = 'a',
  BUILD = 'b',
  GLOBAL = 'c',
  DICT = 'd',
  EMPTY_DICT = '}',
  APPENDS = 'e',
  BINGET = 'h',
  LONG_BINGET = 'j',
  LIST = 'l',
  EMPTY_LIST = ']',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  TUPLE = 't',
  EMPTY_TUPLE = ')',
  SETITEMS = 'u',
  PROTO = 0x80,
  NEWOBJ = 0x81,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8a,
  LONG4 = 0x8b,
  BINBYTES = 'B',
  SHORT_BINBYTES = 'C',
  SHORT_BINUNICODE = 0x8c,
  BINUNICODE8 = 0x8d,
  BINBYTES8 = 0x8e,
  EMPTY_SET = 0x8f,
  ADDITEMS = 0x90,
  FROZENSET = 0x91,
  STACK_GLOBAL = 0x93,
  MEMOIZE = 0x94,
  FRAME = 0x95,
  BYTEARRAY8 = 0x96,
};

// A checkpoint of a thousand tensors needs some thirty thousand objects, of five bytes and more each; a list of small numbers
// has two bytes each.
constexpr std::size_t max_nodes = 4'000'000, always_nodes = 500'000, bytes_a_node = 4;
// Stack entries and items of containers: cheap per opcode, so bounded apart from the objects.
constexpr std::size_t max_stack = 16'000'000;

}  // namespace

Pickle unpickle(std::span<const std::byte> bytes, const std::string& where, const PickleObjects* known,
                PickleDialect dialect) {
  return Unpickler(bytes, where, known, dialect).run();
}

Pickle Unpickler::run() {
  if (known_ != nullptr) {
    out_.storages = known_->storages;
    out_.tensors = known_->tensors;
  }
  do {
    in_.begin_opcode();
  } while (step(in_.number<std::uint8_t>()));
  out_.root = pop();
  out_.length = in_.position();
  refuse_double_keys();
  return std::move(out_);
}

std::size_t Unpickler::most_nodes(std::size_t bytes) {
  return std::clamp(bytes / bytes_a_node, always_nodes, max_nodes);
}

void Unpickler::refuse_double_keys() const {
  for (const PickleNode& dict : out_.nodes) {
    if (dict.kind != PickleKind::dict || dict.items.size() < 4) continue;
    std::unordered_set<std::string_view> texts;
    std::unordered_set<std::int64_t> numbers;
    for (std::size_t i = 0; i < dict.items.size(); i += 2) {
      const PickleNode& key = out_[dict.items[i]];
      if (key.kind == PickleKind::text && !texts.insert(key.text).second) {
        throw Error(fmt::format("{}: key {} stands twice in a dict", where_, quote(key.text)));
      }
      // True is 1 to Python.
      const bool number = key.kind == PickleKind::integer || key.kind == PickleKind::boolean;
      if (number && !numbers.insert(key.integer).second) {
        throw Error(fmt::format("{}: key {} stands twice in a dict", where_, key.integer));
      }
    }
  }
}

bool Unpickler::step(int opcode) {
  if (push_literal(opcode) || push_container(opcode) || use_memo(opcode)) return true;
  switch (opcode) {
    case STOP:
      return false;
    case PROTO: {
      const int protocol = in_.number<std::uint8_t>();
      if (protocol > 5) in_.fail(fmt::format("protocol {}; up to 5 is known", protocol));
      return true;
    }
    case FRAME:
      in_.number<std::uint64_t>();
      return true;  // a hint for buffered readers
    case MARK:
      if (marks_.size() >= max_stack) in_.fail("too many marks");
      marks_.push_back(stack_.size());
      return true;
    case POP:
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return true;
    case POP_MARK:
      pop_to_mark();
      return true;
    case DUP:
      push(top());
      return true;
    case GLOBAL: {
      const std::string_view module = in_.line();
      push_global(module, in_.line());
      return true;
    }
    case STACK_GLOBAL: {
      const PickleRef name = pop();
      const PickleRef module = pop();
      need(node(name).kind == PickleKind::text && node(module).kind == PickleKind::text,
           "a global's name is not text");
      push_global(node(module).text, node(name).text);
      return true;
    }
    case REDUCE:
    case NEWOBJ: {
      const PickleRef arguments = pop();
      const PickleRef callee = pop();
      push(reduce(callee, arguments));
      return true;
    }
    case BUILD: {
      const PickleRef state = pop();
      build(top(), state);
      return true;
    }
    case BINPERSID:
      push(known_ != nullptr ? find_tensor(pop()) : make_storage(pop()));
      return true;
    default:
      in_.fail(fmt::format("opcode 0x{:02x} is not one that torch.save writes (protocols 2 to 5)", opcode));
  }
}

bool Unpickler::push_literal(int opcode) {
  const auto push_bytes = [&](PickleKind kind, std::uint64_t n) { push(make_text(kind, in_.take(n))); };
  switch (opcode) {
    case NONE:
      push(make(PickleKind::none));
      return true;
    case NEWTRUE:
      push(make(PickleKind::boolean, 1));
      return true;
    case NEWFALSE:
      push(make(PickleKind::boolean, 0));
      return true;
    case BININT:
      push(make(PickleKind::integer, in_.number<std::int32_t>()));
      return true;
    case BININT1:
      push(make(PickleKind::integer, in_.number<std::uint8_t>()));
      return true;
    case BININT2:
      push(make(PickleKind::integer, in_.number<std::uint16_t>()));
      return true;
    // The one literal in text that Python 2 writes in protocol 2 too: a number over 32 bits, as the addresses by which
    // PyTorch's optimizers then named their parameters.
    case INT: {
      const std::string_view digits = in_.line();
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (error != std::errc() || end != digits.data() + digits.size()) {
        in_.fail(fmt::format("{} is not a whole number of 64 bits", quote(digits)));
      }
      push(make(digits == "00" || digits == "01" ? PickleKind::boolean : PickleKind::integer, value));
      return true;
    }
    case LONG1:
    case LONG4: {
      const std::uint32_t n = opcode == LONG1 ? in_.number<std::uint8_t>() : in_.number<std::uint32_t>();
      const std::string_view digits = in_.take(n);  // two's complement, little-endian
      if (n > 8) {
        push(make_text(PickleKind::big_integer, digits));
        return true;
      }
      const bool negative = n && (digits.back() & 0x80);
      std::uint64_t bits = negative ? ~std::uint64_t(0) : 0;
      std::memcpy(&bits, digits.data(), n);
      push(make(PickleKind::integer, static_cast<std::int64_t>(bits)));
      return true;
    }
    case BINFLOAT: {
      PickleNode real;
      real.kind = PickleKind::real;
      real.real = in_.big_endian_double();
      push(make(std::move(real)));
      return true;
    }
    case BINUNICODE:
    case BINSTRING:
      push_bytes(PickleKind::text, in_.number<std::uint32_t>());
      return true;
    case SHORT_BINUNICODE:
    case SHORT_BINSTRING:
      push_bytes(PickleKind::text, in_.number<std::uint8_t>());
      return true;
    case BINUNICODE8:
      push_bytes(PickleKind::text, in_.number<std::uint64_t>());
      return true;
    case BINBYTES:
      push_bytes(PickleKind::bytes, in_.number<std::uint32_t>());
      return true;
    case SHORT_BINBYTES:
      push_bytes(PickleKind::bytes, in_.number<std::uint8_t>());
      return true;
    case BINBYTES8:
    case BYTEARRAY8:
      push_bytes(PickleKind::bytes, in_.number<std::uint64_t>());
      return true;
    default:
      return false;
  }
}

bool Unpickler::push_container(int opcode) {
  switch (opcode) {
    case EMPTY_LIST:
      push(make(PickleKind::list));
      return true;
    case EMPTY_TUPLE:
      push(make(PickleKind::tuple));
      return true;
    case EMPTY_DICT:
      push(make(PickleKind::dict));
      return true;
    case EMPTY_SET:
      push(make(PickleKind::set));
      return true;
    case LIST:
      push(make_items(PickleKind::list, pop_to_mark()));
      return true;
    case TUPLE:
      push(make_items(PickleKind::tuple, pop_to_mark()));
      return true;
    case FROZENSET:
      push(make_items(PickleKind::set, pop_to_mark()));
      return true;
    case TUPLE1:
    case TUPLE2:
    case TUPLE3: {
      std::vector<PickleRef> items(std::size_t(opcode - TUPLE1 + 1));
      for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
      push(make_items(PickleKind::tuple, std::move(items)));
      return true;
    }
    case DICT: {
      const auto items = pop_to_mark();
      push(make(PickleKind::dict));
      put_items(top(), PickleKind::dict, items);
      return true;
    }
    case APPEND: {
      const PickleRef item = pop();
      put_items(top(), PickleKind::list, {item});
      return true;
    }
    case APPENDS: {
      const auto items = pop_to_mark();
      put_items(top(), PickleKind::list, items);
      return true;
    }
    case ADDITEMS: {
      const auto items = pop_to_mark();
      put_items(top(), PickleKind::set, items);
      return true;
    }
    case SETITEM: {
      const PickleRef value = pop();
      const PickleRef key = pop();
      put_items(top(), PickleKind::dict, {key, value});
      return true;
    }
    case SETITEMS: {
      const auto items = pop_to_mark();
      put_items(top(), PickleKind::dict, items);
      return true;
    }
    default:
      return false;
  }
}

bool Unpickler::use_memo(int opcode) {
  const auto get = [&](std::uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) in_.fail(fmt::format("memo {} was never stored", key));
    push(found->second);
  };
  switch (opcode) {
    case BINPUT:
      remember(in_.number<std::uint8_t>(), top());
      return true;
    case LONG_BINPUT:
      remember(in_.number<std::uint32_t>(), top());
      return true;
    case MEMOIZE:
      remember(memo_.size(), top());
      return true;
    case BINGET:
      get(in_.number<std::uint8_t>());
      return true;
    case LONG_BINGET:
      get(in_.number<std::uint32_t>());
      return true;
    default:
      return false;
  }
}

PickleRef Unpickler::make(PickleNode made) {
  if (out_.nodes.size() >= most_nodes_) {
    in_.fail(fmt::format("more than {} objects", most_nodes_));
  }
  out_.nodes.push_back(std::move(made));
  return PickleRef(out_.nodes.size() - 1);
}

PickleRef Unpickler::make(PickleKind kind, std::int64_t integer) {
  PickleNode made;
  made.kind = kind;
  made.integer = integer;
  return make(std::move(made));
}

PickleRef Unpickler::make_text(PickleKind kind, std::string_view text) {
  PickleNode made;
  made.kind = kind;
  made.text = text;
  return make(std::move(made));
}

PickleRef Unpickler::make_items(PickleKind kind, std::vector<PickleRef> items) {
  PickleNode made;
  made.kind = kind;
  made.items = std::move(items);
  return make(std::move(made));
}

void Unpickler::push(PickleRef ref) {
  if (stack_.size() >= max_stack) in_.fail("the stack grows too large");
  stack_.push_back(ref);
}

// What lies below a mark is out of reach until the mark is taken away.
PickleRef& Unpickler::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) in_.fail("the stack is empty");
  return stack_.back();
}

PickleRef Unpickler::pop() {
  const PickleRef ref = top();
  stack_.pop_back();
  return ref;
}

std::vector<PickleRef> Unpickler::pop_to_mark() {
  if (marks_.empty()) in_.fail("there is no mark");
  const auto begin = stack_.begin() + std::ptrdiff_t(marks_.back());
  std::vector<PickleRef> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

void Unpickler::remember(std::uint64_t key, PickleRef ref) {
  if (memo_.size() >= max_nodes) in_.fail("the memo grows too large");
  memo_[key] = ref;
}

void Unpickler::put_items(PickleRef target, PickleKind wanted, const std::vector<PickleRef>& items) {
  PickleNode& container = node(target);
  if (container.kind == PickleKind::inert) return;
  if (container.kind != wanted) {
    in_.fail(fmt::format("items are put into a {}", pickle_type_name(container)));
  }
  need(wanted != PickleKind::dict || items.size() % 2 == 0, "a key has no value");
  container.items.insert(container.items.end(), items.begin(), items.end());
}

void Unpickler::need(bool condition, const char* what) {
  if (!condition) in_.fail(what);
}

}  // namespace retrace::weights

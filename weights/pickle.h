// What a pickle describes, as data. Reference: CPython's Lib/pickletools.py, protocols 2 to 5.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/pickle_globals.h"

namespace retrace::weights {

enum class PickleKind : std::uint8_t {
  none,
  boolean,
  integer,
  big_integer,  // does not fit 64 bits; `text` holds its little-endian bytes
  real,
  text,
  bytes,
  list,
  tuple,
  set,
  dict,    // items: key, value, key, value …
  global,  // one of the known names; `text` names it
  storage,
  tensor,
  inert,   // an object that is not looked into; `text` names its type
  module,  // of a TorchScript program; `text` names its class, items are its attributes as in a dict
};

// Nodes refer to each other by index. A pickle can make cycles: whoever walks must bound or mark the walk.
using PickleRef = std::uint32_t;

struct PickleNode {
  PickleKind kind = PickleKind::none;
  PickleGlobal global{};     // kind global
  std::int64_t integer = 0;  // boolean, integer; index into `storages` or `tensors`
  double real = 0;
  std::string_view text;  // points into the pickle's bytes, or to a constant
  std::vector<PickleRef> items;
};

// A stretch of memory that tensors view; its bytes are elsewhere in the file, under `key`.
struct PickleStorage {
  std::optional<DType> dtype;  // none: plain bytes
  std::string_view key;
  std::int64_t count = 0;  // elements of the whole storage
  // Elements [view_begin, view_begin + view_count) of it: old files have storages inside storages.
  std::int64_t view_begin = 0, view_count = 0;
};

struct PickleTensor {
  std::size_t storage = 0;     // index into `storages`
  std::optional<DType> dtype;  // where it differs from the storage's
  std::int64_t offset = 0;     // elements
  std::vector<std::int64_t> shape, strides;
  bool negative = false;  // the values are the storage's with the other sign (PyTorch's negative bit)
};

struct Pickle {
  std::deque<PickleNode> nodes;  // grows without a copy of all
  std::vector<PickleStorage> storages;
  std::vector<PickleTensor> tensors;
  PickleRef root = 0;
  std::size_t length = 0;  // bytes up to and including STOP

  const PickleNode& operator[](PickleRef ref) const { return nodes[ref]; }
};

// Storages and tensors that a pickle refers to by number, because they were saved apart from it.
struct PickleObjects {
  std::vector<PickleStorage> storages;
  std::vector<PickleTensor> tensors;
  std::map<std::int64_t, std::size_t> tensor_of;  // by number, index into `tensors`
};

// Reads the pickle at the beginning of `bytes`, which must outlive the result. Executes nothing: a GLOBAL
// becomes an enum; REDUCE, NEWOBJ and BUILD act on the known names alone. Numbers in tensors and storages are
// not yet checked against each other.
// Throws Error, beginning with `where` and the byte's position, for a damaged pickle, an unknown name, an
// opcode of the text protocols 0 and 1 (but INT, which Python 2 writes in protocol 2 too), an absurd number
// of objects (over 4 million, or over half a million and one to four bytes; over 250 000 tensors), or a key that stands
// twice in a dict: Python would take the last one, and no pickler writes two.
// With `known`, which must outlive the call, a persistent id is the number of one of its tensors.
// `dialect` says which names are known.
Pickle unpickle(std::span<const std::byte> bytes, const std::string& where,
                const PickleObjects* known = nullptr, PickleDialect dialect = PickleDialect::checkpoint);

// "dict", "int", "argparse.Namespace" … for messages.
std::string pickle_type_name(const PickleNode& node);

}  // namespace retrace::weights

// Where Python would import and call, this reads the few shapes that torch.save produces.
#include <charconv>
#include <system_error>

#include "weights/checked.h"
#include "weights/unpickler.h"

namespace retrace::weights {
namespace {

constexpr std::size_t max_tensors = 250'000;
constexpr std::size_t max_copied = 16'000'000;

}  // namespace

void Unpickler::charge(std::size_t items) {
  copied_ += items;
  if (copied_ > max_copied) in_.fail("containers are copied too often");
}

void Unpickler::push_global(std::string_view module, std::string_view name) {
  const auto known = find_pickle_global(module, name, dialect_);
  if (!known) {
    const std::string full = quote(std::string(module) + "." + std::string(name));
    if (module.starts_with("__torch__")) {
      in_.fail(
          fmt::format("refers to {}, a class of a TorchScript program, but the file is none; save its "
                      "state_dict() instead",
                      full));
    }
    in_.fail(
        fmt::format("refers to {}, which is not among the names a checkpoint of tensors needs; nothing is "
                    "executed, so save the state_dict() alone",
                    full));
  }
  PickleNode made;
  made.kind = PickleKind::global;
  made.global = *known;
  made.text = name;
  push(make(std::move(made)));
}

PickleRef Unpickler::reduce(PickleRef callee, PickleRef arguments) {
  need(node(callee).kind == PickleKind::global, "something that is not a known name is called");
  need(node(arguments).kind == PickleKind::tuple, "the arguments of a call are not a tuple");
  const PickleName name = node(callee).global.name;
  if (name == PickleName::inert) return make_text(PickleKind::inert, node(callee).text);
  if (name == PickleName::module) return make_text(PickleKind::module, node(callee).text);
  need(node(arguments).items.size() <= 16, "a call has more arguments than any known name takes");
  const std::vector<PickleRef> items = node(arguments).items;
  switch (name) {
    case PickleName::ordered_dict:
    case PickleName::dict:
      return make_dict(items);
    case PickleName::default_dict:
      return make(PickleKind::dict);
    case PickleName::set:
      need(items.size() <= 1, "a set is made of more than one argument");
      if (items.empty()) return make(PickleKind::set);
      need(node(items[0]).kind == PickleKind::list || node(items[0]).kind == PickleKind::tuple,
           "a set is not made of a list");
      charge(node(items[0]).items.size());
      return make_items(PickleKind::set, node(items[0]).items);
    case PickleName::size:
      need(items.size() == 1 && node(items[0]).kind == PickleKind::tuple, "torch.Size without a tuple");
      return items[0];
    case PickleName::rebuild_tensor:
    case PickleName::rebuild_tensor_2:
    case PickleName::rebuild_tensor_3:
      return make_tensor(name, items);
    case PickleName::rebuild_parameter:
    case PickleName::parameter:
      need(!items.empty() && node(items[0]).kind == PickleKind::tensor, "a parameter without a tensor");
      return items[0];
    case PickleName::rebuild_subclass: {
      need(items.size() == 4 && node(items[0]).kind == PickleKind::global,
           "a tensor of a subclass is not (function, type, arguments, state)");
      const PickleName function = node(items[0]).global.name;
      need(function == PickleName::rebuild_tensor || function == PickleName::rebuild_tensor_2 ||
               function == PickleName::rebuild_tensor_3 || function == PickleName::rebuild_parameter,
           "a tensor of a subclass is made by something else than a tensor's function");
      return reduce(items[0], items[2]);
    }
    case PickleName::typed_value:
      need(items.size() == 1 || items.size() == 2, "a typed value is not made of a value and a type");
      return items[0];
    case PickleName::inert:
    case PickleName::module:
    case PickleName::storage:
    case PickleName::dtype:
    case PickleName::tensor_type:
      break;
  }
  in_.fail(fmt::format("{} is called, which no checkpoint does", quote(node(callee).text)));
}

// The state holds attributes. Of a TorchScript module they are what is looked for, unless the class packs them its own
// way; of anything else (a state dict's _metadata, hooks) nothing is a weight.
void Unpickler::build(PickleRef target, PickleRef state) {
  const PickleKind kind = node(target).kind;
  if (kind == PickleKind::module) {
    if (node(state).kind != PickleKind::dict) return;
    charge(node(state).items.size());
    node(target).items = node(state).items;
    return;
  }
  need(kind == PickleKind::dict || kind == PickleKind::tensor || kind == PickleKind::inert ||
           kind == PickleKind::set,
       "attributes are set on something that has none");
  // PyTorch takes four or five parts for a tensor's storage, offset and sizes.
  const PickleNode& parts = node(state);
  need(kind != PickleKind::tensor || (parts.kind != PickleKind::tuple && parts.kind != PickleKind::list) ||
           parts.items.size() < 4,
       "a tensor that has been made is given other values, which no checkpoint does");
}

// OrderedDict(), or OrderedDict([[key, value], …]) as Python 2 wrote it; Counter({…}).
PickleRef Unpickler::make_dict(const std::vector<PickleRef>& arguments) {
  need(arguments.size() <= 1, "a dict is made of more than one argument");
  std::vector<PickleRef> items;
  if (!arguments.empty()) {
    const PickleNode& source = node(arguments[0]);
    charge(source.items.size());
    if (source.kind == PickleKind::dict) {
      items = source.items;
    } else {
      need(source.kind == PickleKind::list || source.kind == PickleKind::tuple,
           "a dict is not made of a list of pairs");
      for (const PickleRef pair : source.items) {
        const PickleNode& entry = node(pair);
        need((entry.kind == PickleKind::list || entry.kind == PickleKind::tuple) && entry.items.size() == 2,
             "a dict is not made of a list of pairs");
        items.insert(items.end(), entry.items.begin(), entry.items.end());
      }
    }
  }
  return make_items(PickleKind::dict, std::move(items));
}

std::int64_t Unpickler::integer(PickleRef ref, const char* what) {
  if (node(ref).kind != PickleKind::integer) {
    in_.fail(fmt::format("{} is a {}, expected a whole number", what, pickle_type_name(node(ref))));
  }
  return node(ref).integer;
}

std::vector<std::int64_t> Unpickler::integers(PickleRef ref, const char* what) {
  // Copied, for a bound: a tuple may be shared by millions of tensors.
  const PickleNode& list = node(ref);
  if (list.kind != PickleKind::tuple && list.kind != PickleKind::list) {
    in_.fail(fmt::format("{} is a {}, expected a tuple", what, pickle_type_name(list)));
  }
  constexpr std::size_t most = 64;  // PyTorch's own limit
  if (list.items.size() > most) {
    in_.fail(fmt::format("{} has {} numbers, at most {} are possible", what, list.items.size(), most));
  }
  std::vector<std::int64_t> out;
  for (const PickleRef item : list.items) out.push_back(integer(item, what));
  return out;
}

// ('storage', type, key, location, count[, view]); view is None or (key, begin, count).
PickleRef Unpickler::make_storage(PickleRef id) {
  const PickleNode& tuple = node(id);
  need(tuple.kind == PickleKind::tuple && !tuple.items.empty() &&
           node(tuple.items[0]).kind == PickleKind::text,
       "a persistent id is not a tuple that begins with its type");
  const std::vector<PickleRef>& items = tuple.items;
  const std::string_view type = node(items[0]).text;
  if (type != "storage") {
    in_.fail(
        fmt::format("persistent id of type {}; only 'storage' is known (a whole module was pickled? save "
                    "its state_dict() instead)",
                    quote(type)));
  }
  need(items.size() == 5 || items.size() == 6, "a storage's id does not have 5 or 6 parts");
  const PickleNode& kind = node(items[1]);
  need(kind.kind == PickleKind::global && kind.global.name == PickleName::storage,
       "a storage's type is not one of torch's storages");
  need(node(items[2]).kind == PickleKind::text, "a storage's key is not text");

  PickleStorage storage;
  storage.dtype = kind.global.dtype;
  storage.key = node(items[2]).text;
  storage.count = integer(items[4], "a storage's size");
  storage.view_count = storage.count;
  if (items.size() == 6 && node(items[5]).kind != PickleKind::none) {
    const PickleNode& view = node(items[5]);
    need(view.kind == PickleKind::tuple && view.items.size() == 3, "a storage's view does not have 3 parts");
    storage.view_begin = integer(view.items[1], "a storage view's begin");
    storage.view_count = integer(view.items[2], "a storage view's size");
  }
  if (out_.storages.size() >= max_tensors) in_.fail(fmt::format("more than {} storages", max_tensors));
  out_.storages.push_back(storage);
  return make(PickleKind::storage, std::int64_t(out_.storages.size() - 1));
}

// The number, in decimal, of a tensor saved apart.
PickleRef Unpickler::find_tensor(PickleRef id) {
  const PickleNode& key = node(id);
  if (key.kind == PickleKind::tuple) {
    in_.fail("a whole module was pickled, which is not read; save its state_dict() instead");
  }
  need(key.kind == PickleKind::text || key.kind == PickleKind::integer, "a persistent id is not a number");
  std::int64_t number = key.integer;
  if (key.kind == PickleKind::text) {
    const auto [end, error] = std::from_chars(key.text.data(), key.text.data() + key.text.size(), number);
    if (error != std::errc() || end != key.text.data() + key.text.size()) {
      in_.fail(fmt::format("persistent id {} is not a number", quote(key.text)));
    }
  }
  const auto found = known_->tensor_of.find(number);
  if (found == known_->tensor_of.end())
    in_.fail(fmt::format("persistent id {} is no tensor of the file", number));
  return make(PickleKind::tensor, std::int64_t(found->second));
}

// A tensor's metadata: {'conj': bool, 'neg': bool}. A real number is its own conjugate.
bool Unpickler::is_negative(PickleRef metadata) {
  const PickleNode& entries = node(metadata);
  if (entries.kind == PickleKind::none) return false;
  need(entries.kind == PickleKind::dict, "a tensor's metadata is not a dict");
  bool negative = false;
  for (std::size_t i = 0; i < entries.items.size(); i += 2) {
    const PickleNode &key = node(entries.items[i]), &value = node(entries.items[i + 1]);
    const bool known = key.kind == PickleKind::text && (key.text == "conj" || key.text == "neg");
    need(known && value.kind == PickleKind::boolean,
         "a tensor's metadata is more than its conjugate and negative bits");
    if (key.text == "neg") negative = value.integer != 0;
  }
  return negative;
}

PickleRef Unpickler::make_tensor(PickleName name, const std::vector<PickleRef>& arguments) {
  // requires_grad and hooks say nothing about values; the third version's dtype and the metadata behind it do.
  const std::size_t least = name == PickleName::rebuild_tensor     ? 4
                            : name == PickleName::rebuild_tensor_2 ? 6
                                                                   : 7;
  const std::size_t most = name == PickleName::rebuild_tensor ? 4 : least + 1;
  need(arguments.size() >= least && arguments.size() <= most, "a tensor has too few or too many arguments");
  need(node(arguments[0]).kind == PickleKind::storage, "a tensor's first argument is not a storage");
  PickleTensor tensor;
  tensor.storage = std::size_t(node(arguments[0]).integer);
  tensor.offset = integer(arguments[1], "a tensor's offset");
  tensor.shape = integers(arguments[2], "a tensor's shape");
  tensor.strides = integers(arguments[3], "a tensor's strides");
  if (name == PickleName::rebuild_tensor_3) {
    const PickleNode& type = node(arguments[6]);
    need(type.kind == PickleKind::global && type.global.name == PickleName::dtype,
         "a tensor's element type is not one of torch's");
    tensor.dtype = type.global.dtype;
  }
  if (arguments.size() == least + 1) tensor.negative = is_negative(arguments[least]);
  if (out_.tensors.size() >= max_tensors) in_.fail(fmt::format("more than {} tensors", max_tensors));
  out_.tensors.push_back(std::move(tensor));
  return make(PickleKind::tensor, std::int64_t(out_.tensors.size() - 1));
}

std::string pickle_type_name(const PickleNode& node) {
  switch (node.kind) {
    case PickleKind::none:
      return "None";
    case PickleKind::boolean:
      return "bool";
    case PickleKind::integer:
    case PickleKind::big_integer:
      return "int";
    case PickleKind::real:
      return "float";
    case PickleKind::text:
      return "str";
    case PickleKind::bytes:
      return "bytes";
    case PickleKind::list:
      return "list";
    case PickleKind::tuple:
      return "tuple";
    case PickleKind::set:
      return "set";
    case PickleKind::dict:
      return "dict";
    case PickleKind::global:
      return "class";
    case PickleKind::storage:
      return "storage";
    case PickleKind::tensor:
      return "tensor";
    case PickleKind::inert:
    case PickleKind::module:
      return std::string(node.text);
  }
  return "?";
}

}  // namespace retrace::weights

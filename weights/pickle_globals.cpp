#include "weights/pickle_globals.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace retrace::weights {
namespace {

struct Known {
  std::string_view module, name;
  PickleName means;
};

// Python 2 wrote __builtin__ for builtins, and protocol 2 still does. Old and new NumPy differ in a module's
// name.
constexpr Known known[] = {
    {"collections", "OrderedDict", PickleName::ordered_dict},
    {"collections", "Counter", PickleName::dict},
    {"collections", "defaultdict", PickleName::default_dict},
    {"builtins", "dict", PickleName::dict},
    {"__builtin__", "dict", PickleName::dict},
    {"builtins", "set", PickleName::set},
    {"__builtin__", "set", PickleName::set},
    {"builtins", "frozenset", PickleName::set},
    {"__builtin__", "frozenset", PickleName::set},
    {"builtins", "list", PickleName::inert},
    {"__builtin__", "list", PickleName::inert},
    {"builtins", "int", PickleName::inert},
    {"__builtin__", "int", PickleName::inert},
    {"builtins", "float", PickleName::inert},
    {"__builtin__", "float", PickleName::inert},
    {"torch._utils", "_rebuild_tensor", PickleName::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v2", PickleName::rebuild_tensor_2},
    {"torch._utils", "_rebuild_tensor_v3", PickleName::rebuild_tensor_3},
    {"torch._utils", "_rebuild_parameter", PickleName::rebuild_parameter},
    {"torch._utils", "_rebuild_parameter_with_state", PickleName::rebuild_parameter},
    {"torch._tensor", "_rebuild_from_type_v2", PickleName::rebuild_subclass},
    {"torch.nn.parameter", "Parameter", PickleName::parameter},
    {"torch", "Tensor", PickleName::inert},
    {"torch", "Size", PickleName::size},
    {"torch", "device", PickleName::inert},
    // A Lightning checkpoint's hyper_parameters.
    {"lightning.fabric.utilities.data", "AttributeDict", PickleName::dict},
    {"lightning_fabric.utilities.data", "AttributeDict", PickleName::dict},
    {"pytorch_lightning.utilities.parsing", "AttributeDict", PickleName::dict},
    {"argparse", "Namespace", PickleName::inert},
    {"pathlib", "PosixPath", PickleName::inert},
    {"_codecs", "encode", PickleName::inert},
    {"numpy", "dtype", PickleName::inert},
    {"numpy", "ndarray", PickleName::inert},
    {"numpy.core.multiarray", "scalar", PickleName::inert},
    {"numpy._core.multiarray", "scalar", PickleName::inert},
    {"numpy.core.multiarray", "_reconstruct", PickleName::inert},
    {"numpy._core.multiarray", "_reconstruct", PickleName::inert},
};

constexpr std::pair<std::string_view, DType> storages[] = {
    {"DoubleStorage", DType::f64},    {"FloatStorage", DType::f32}, {"HalfStorage", DType::f16},
    {"BFloat16Storage", DType::bf16}, {"LongStorage", DType::i64},  {"IntStorage", DType::i32},
    {"ShortStorage", DType::i16},     {"CharStorage", DType::i8},   {"ByteStorage", DType::u8},
    {"BoolStorage", DType::boolean},
};

constexpr std::pair<std::string_view, DType> dtypes[] = {
    {"float64", DType::f64},         {"float32", DType::f32},
    {"float16", DType::f16},         {"bfloat16", DType::bf16},
    {"int64", DType::i64},           {"int32", DType::i32},
    {"int16", DType::i16},           {"int8", DType::i8},
    {"uint64", DType::u64},          {"uint32", DType::u32},
    {"uint16", DType::u16},          {"uint8", DType::u8},
    {"bool", DType::boolean},        {"float8_e4m3fn", DType::f8_e4m3},
    {"float8_e5m2", DType::f8_e5m2},
};

constexpr std::string_view typed_values[] = {"build_intlist", "build_doublelist", "build_boollist",
                                             "build_tensorlist", "restore_type_tag"};

std::optional<PickleGlobal> find_script_global(std::string_view module, std::string_view name) {
  // The classes of the program itself: "__torch__", "__torch__.torch.nn.modules.conv".
  constexpr std::string_view root = "__torch__";
  if (module == root || (module.starts_with(root) && module[root.size()] == '.')) {
    return PickleGlobal{PickleName::module, std::nullopt};
  }
  if (module == "torch.jit._pickle" &&
      std::find(std::begin(typed_values), std::end(typed_values), name) != std::end(typed_values)) {
    return PickleGlobal{PickleName::typed_value, std::nullopt};
  }
  return std::nullopt;
}

}  // namespace

std::optional<PickleGlobal> find_pickle_global(std::string_view module, std::string_view name,
                                               PickleDialect dialect) {
  if (dialect == PickleDialect::torch_script) {
    if (const auto found = find_script_global(module, name)) return found;
  }
  for (const Known& entry : known) {
    if (entry.module == module && entry.name == name) return PickleGlobal{entry.means, std::nullopt};
  }
  if (module == "torch" || module == "torch.cuda") {
    for (const auto& [storage, dtype] : storages) {
      if (storage == name) return PickleGlobal{PickleName::storage, dtype};
    }
  }
  if (name.ends_with("Tensor") && (module == "torch" || module == "torch.cuda")) {
    const std::string_view element = name.substr(0, name.size() - std::string_view("Tensor").size());
    for (const auto& [storage, dtype] : storages) {
      if (storage.substr(0, storage.size() - std::string_view("Storage").size()) == element) {
        return PickleGlobal{PickleName::tensor_type, dtype};
      }
    }
  }
  if (name == "UntypedStorage" && (module == "torch" || module == "torch.storage")) {
    return PickleGlobal{PickleName::storage, std::nullopt};
  }
  if (module == "torch") {
    for (const auto& [type, dtype] : dtypes) {
      if (type == name) return PickleGlobal{PickleName::dtype, dtype};
    }
  }
  return std::nullopt;
}

}  // namespace retrace::weights

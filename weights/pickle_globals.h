// The Python names a checkpoint may refer to. A name is only ever an enum here: nothing is imported or
// called.
#pragma once
#include <optional>
#include <string_view>

#include "weights/dtype.h"

namespace retrace::weights {

enum class PickleName : std::uint8_t {
  ordered_dict,       // collections.OrderedDict
  dict,               // builtins.dict, collections.Counter
  default_dict,       // collections.defaultdict: its first argument, the factory, is dropped
  set,                // builtins.set, frozenset
  rebuild_tensor,     // torch._utils._rebuild_tensor(storage, offset, shape, strides)
  rebuild_tensor_2,   // …_v2(storage, offset, shape, strides, requires_grad, hooks[, metadata])
  rebuild_tensor_3,   // …_v3(storage, offset, shape, strides, requires_grad, hooks, dtype[, metadata])
  rebuild_parameter,  // torch._utils._rebuild_parameter(tensor, requires_grad, hooks), also …_with_state
  rebuild_subclass,   // torch._tensor._rebuild_from_type_v2(function, type, arguments, state)
  parameter,          // torch.nn.parameter.Parameter(tensor, …), as PyTorch before 0.4 pickled it
  storage,            // torch.FloatStorage …: an element type
  dtype,              // torch.float32 …: an element type
  tensor_type,        // torch.FloatTensor …: an element type
  size,               // torch.Size(tuple)
  inert,              // kept as a name, never looked into: argparse.Namespace, NumPy scalars, devices …
  // In TorchScript programs alone:
  module,  // __torch__.torch.nn.modules.conv.Conv2d …: an object with attributes, whatever the class
  typed_value,  // torch.jit._pickle's build_intlist(list) … and restore_type_tag(value, type): their first argument
};

struct PickleGlobal {
  PickleName name;
  std::optional<DType> dtype;  // of storages (none for a storage of plain bytes) and dtypes
};

enum class PickleDialect : std::uint8_t { checkpoint, torch_script };

// Nothing if the name is not one of the known few.
std::optional<PickleGlobal> find_pickle_global(std::string_view module, std::string_view name,
                                               PickleDialect dialect);

}  // namespace retrace::weights

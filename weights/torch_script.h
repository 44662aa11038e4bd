// The weights of a TorchScript program: parameters and buffers of its module, by their dotted paths.
#pragma once
#include <cstddef>
#include <string>

#include "weights/state_dict.h"

namespace retrace::weights {

// The tensors among the attributes of the root module, then those of the modules among its attributes, and so on: the
// names of the module's own state_dict(). A tensor that is a plain attribute cannot be told from a buffer and is taken
// too. Attributes that are no module and no tensor are left out, those that hold tensors (lists, dicts) with a note.
// `constants`: how many tensors the file keeps without names, for its code alone.
// Throws Error if the root is no module, if there is no tensor (a frozen module, torch.jit.freeze, has only constants),
// if two tensors get one name, if modules are nested over 32 deep (or in a ring), over a million attributes, or if the
// names would take over 64 MiB.
StateDict find_module_tensors(const Pickle& pickle, const std::string& path, std::size_t constants);

}  // namespace retrace::weights

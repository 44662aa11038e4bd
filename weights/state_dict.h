// Finding the weights in what a training script saved.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "weights/pickle.h"

namespace retrace::weights {

struct StateDict {
  std::vector<std::pair<std::string, std::size_t>> tensors;  // name, index into Pickle::tensors; names unique
  std::map<std::string, std::string> metadata;               // numbers and strings beside the weights
  // The averaged weights beside them, if any, and the key they were under.
  std::vector<std::pair<std::string, std::size_t>> averaged;
  std::string averaged_key;
  std::vector<std::string> notes;  // what was followed, removed and left out
};

// 1. From the root, follows wrapper keys (state_dict, model_state_dict, model_state, model, net, network,
//    params, weights, module; in this order) for as long as a dict has one whose value is a dict with
//    tensors.
//    Beside such an entry, or in the root, a dict of averaged weights (state_dict_ema, model_ema, ema, …) is kept
//    apart; it is the weights where there are no others.
// 2. Without a wrapper, entries of the root that hold an optimizer's or scheduler's state are left out.
// 3. Flattens dicts, lists and tuples; names are joined by dots.
// 4. Removes `module.` (DataParallel) and `_orig_mod.` (torch.compile) if all names begin so.
// Throws Error if there is no tensor, if two tensors get one name, if containers are nested over 32 deep,
// or if the names would take over 64 MiB.
StateDict find_state_dict(const Pickle& pickle, const std::string& path);

}  // namespace retrace::weights

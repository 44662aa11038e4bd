// Finding a model's parameters in an ONNX graph by what is computed with them: exporters fold batch norm into the
// convolutions and make up names ("onnx::Conv_193"), so names tell nothing. The graph is compared with the model's
// network from the logits back to the picture, node by node and attribute by attribute.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "engine/models/graph.h"
#include "weights/checkpoint.h"

namespace retrace {

struct OnnxMatch {
  bool fits = false;
  std::string error;        // where it does not: "layer 'fc': node 12 ('Relu'), expected Gemm …"
  std::size_t reached = 0;  // how many layers back from the logits that is
  bool folded = false;      // the batch norms behind convolutions are in their weights
  // Under the model's parameter names, [K, C, R, S] and [K, C].
  std::vector<weights::HostTensor> tensors;
  std::vector<std::string> sources;  // what each is called in the file
  std::vector<std::string> notes;
};

// What is not there at inference is passed over: Identity, Dropout, a Softmax at the end. Reads the graph's one output
// and one input. Time grows with the layers times the graph's sums, whatever the graph.
OnnxMatch match_onnx(const weights::OnnxGraph& onnx, const NetGraph& net);

}  // namespace retrace

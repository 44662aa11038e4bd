// Folding batch norm convolution by convolution while a checkpoint is written.
#pragma once
#include <string>
#include <vector>

#include "weights/tensor_to_write.h"

namespace retrace {

// What fold_model() makes of a model's parameters, in the order of model_parameters(model, classes, true), each made
// when it is written. `tensors` are those of take_tensors(), of any floating type; what is made is f32. Throws Error if
// they are not as many as the model's; making them throws where fold_batch_norm() does.
std::vector<weights::TensorToWrite> folded_when_written(const std::string& model, int classes,
                                                        const std::vector<weights::HostTensor>& tensors);

}  // namespace retrace

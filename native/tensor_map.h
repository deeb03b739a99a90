// Tensors by name: what weight files hold and what crosses the boundary to JavaScript.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace ssn {

using TensorMap = std::map<std::string, at::Tensor>;

}  // namespace ssn

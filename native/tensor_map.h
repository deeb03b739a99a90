// Tensors by name: what weight files hold and what crosses the boundary to JavaScript.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace ssn {

using TensorMap = std::map<std::string, at::Tensor>;

// Bytes of its elements; 0 where it is undefined.
inline int64_t bytesOf(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.numel() * static_cast<int64_t>(tensor.element_size()) : 0;
}

}  // namespace ssn

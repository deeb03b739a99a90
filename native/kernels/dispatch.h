// The element types that kernels are compiled for.
#pragma once

#include <ATen/core/Tensor.h>

namespace ssn {

// body(T{}) with T the C++ type of `type`: float, half or bfloat16.
template <class Body>
void withElement(at::ScalarType type, Body&& body) {
  if (type == at::kFloat) return body(float{});
  if (type == at::kHalf) return body(c10::Half{});
  TORCH_INTERNAL_ASSERT(type == at::kBFloat16, "no kernels for this element type");
  body(c10::BFloat16{});
}

}  // namespace ssn

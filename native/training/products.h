// The wide matrix products of a step: operands in the step's precision, results in float32 but where it says so.
#pragma once

#include <ATen/core/Tensor.h>

#include "runs_on_host.h"

namespace ssn {

at::Tensor product(const at::Tensor& a, const at::Tensor& b, at::ScalarType precision);
// For upscaling, which reads both types: on the CPU the result stays in the precision.
at::Tensor productToUpscale(const at::Tensor& a, const at::Tensor& b, at::ScalarType precision);
void addProduct(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b, at::ScalarType precision);

// Large results are made in pieces of about this many floats: 64 MiB on the CPU, 256 MiB elsewhere.
inline int64_t pieceFloats(const at::Tensor& tensor) { return runsOnHost(tensor) ? 16 << 20 : 64 << 20; }

}  // namespace ssn

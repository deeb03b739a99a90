// Random initial weights: a pure function of (seed, tensor name), so the same on every machine and device.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace ssn {

at::Tensor normalTensor(uint64_t seed, const std::string& name, std::vector<int64_t> shape, double std);
// Uniform in [-limit, limit).
at::Tensor uniformTensor(uint64_t seed, const std::string& name, std::vector<int64_t> shape, double limit);

}  // namespace ssn

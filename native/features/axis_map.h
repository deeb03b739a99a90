// A linear map along one axis with a banded matrix: bilinear upscaling followed by pooling, and its shifted forms, mix
// only a few neighbours. Keeps the non-zero entries in a device's memory, for kernels.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/element.h"

namespace ssn {

struct DeviceAxisMap {
  DeviceAxisMap() = default;
  // matrix: out x in, float32, on the CPU.
  DeviceAxisMap(const at::Tensor& matrix, at::Device device);

  at::Tensor begin, index, value;  // compressed sparse rows: int32, int32, float32

  SparseRows rows() const { return {begin.data_ptr<int32_t>(), index.data_ptr<int32_t>(), value.data_ptr<float>()}; }
};

}  // namespace ssn

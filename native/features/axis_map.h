// A linear map along one axis whose matrix is banded: bilinear upscaling followed by pooling, and its shifted forms, mix
// a handful of neighbours. On the CPU only the non-zero entries are multiplied.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/element.h"

namespace ssn {

// The same matrix in the memory of a device, for kernels.
struct DeviceAxisMap {
  at::Tensor begin, index, value;

  SparseRows rows() const { return {begin.data_ptr<int32_t>(), index.data_ptr<int32_t>(), value.data_ptr<float>()}; }
};

class AxisMap {
 public:
  AxisMap() = default;
  // matrix: out x in, float32, on the CPU.
  explicit AxisMap(const at::Tensor& matrix);

  DeviceAxisMap on(at::Device device) const;

  int64_t outputs() const { return static_cast<int64_t>(begin_.size()) - 1; }

  // body(input, weight) for each non-zero entry of row `output`.
  template <class Body>
  void forTerms(int64_t output, Body&& body) const {
    for (int64_t i = begin_[output]; i < begin_[output + 1]; ++i) body(index_[i], value_[i]);
  }

  // Rows of `inner` contiguous floats: out[y] = sum_x matrix[y, x] in[x]. Calling thread only.
  void apply(const float* in, int64_t inStride, float* out, int64_t outStride, int64_t inner) const;

 private:
  std::vector<int64_t> begin_, index_;  // compressed sparse rows
  std::vector<float> value_;
};

}  // namespace ssn

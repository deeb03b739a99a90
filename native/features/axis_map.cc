#include "features/axis_map.h"

#include <ATen/Parallel.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/matmul.h>

#include <algorithm>

#include "platform.h"

namespace ssn {
namespace {

constexpr int64_t kBlock = 256;  // floats of a row that are summed at a time: the rows they come from stay in the first-level cache

SSN_VECTORISED void weightedSum(const float* in, int64_t rowStride, const int64_t* index, const float* value, int64_t terms, float* __restrict out, int64_t n) {
  float sum[kBlock] = {};
  for (int64_t t = 0; t < terms; ++t) {
    const float* __restrict row = in + index[t] * rowStride;
    const float weight = value[t];
    for (int64_t i = 0; i < n; ++i) sum[i] += weight * row[i];
  }
  for (int64_t i = 0; i < n; ++i) out[i] = sum[i];
}

at::Tensor view(const AxisMap::Layout& layout, int64_t count, int64_t rows, int64_t inner) {
  return at::as_strided(layout.storage, {count, rows, inner}, {layout.stride, layout.rowStride, 1}, layout.storage.storage_offset() + layout.offset);
}

}  // namespace

AxisMap::AxisMap(const at::Tensor& matrix, at::Device device) : forward_(sparse(matrix)), transposed_(sparse(matrix.t().contiguous())) {
  if (device.is_cpu()) return;
  dense_ = matrix.to(device);
  denseTransposed_ = matrix.t().contiguous().to(device);
}

AxisMap::Sparse AxisMap::sparse(const at::Tensor& matrix) {
  Sparse out;
  out.outputs = matrix.size(0);
  out.inputs = matrix.size(1);
  const float* data = matrix.data_ptr<float>();
  for (int64_t y = 0; y < out.outputs; ++y) {
    out.begin.push_back(static_cast<int64_t>(out.index.size()));
    for (int64_t x = 0; x < out.inputs; ++x) {
      if (data[y * out.inputs + x] == 0) continue;
      out.index.push_back(x);
      out.value.push_back(data[y * out.inputs + x]);
    }
  }
  out.begin.push_back(static_cast<int64_t>(out.index.size()));
  return out;
}

void AxisMap::apply(const Sparse& matrix, const at::Tensor& dense, const Layout& in, const Layout& out, int64_t count, int64_t inner) {
  if (dense.defined()) {
    view(out, count, matrix.outputs, inner).copy_(at::matmul(dense, view(in, count, matrix.inputs, inner)));
    return;
  }
  const float* from = in.storage.data_ptr<float>() + in.offset;
  float* to = out.storage.data_ptr<float>() + out.offset;
  const int64_t blocks = (inner + kBlock - 1) / kBlock;
  at::parallel_for(0, count * blocks, std::max<int64_t>(1, 16 / matrix.outputs), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / blocks, column = task % blocks * kBlock, width = std::min(kBlock, inner - column);
      for (int64_t y = 0; y < matrix.outputs; ++y) {
        const int64_t first = matrix.begin[y];
        weightedSum(from + n * in.stride + column, in.rowStride, &matrix.index[first], &matrix.value[first], matrix.begin[y + 1] - first, to + n * out.stride + y * out.rowStride + column, width);
      }
    }
  });
}

}  // namespace ssn

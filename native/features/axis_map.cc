#include "features/axis_map.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "platform.h"

namespace ssn {
namespace {

constexpr int64_t kBlock = 256;  // floats of a row that are summed at a time: the rows they come from stay in the first-level cache

SSN_VECTORISED void weightedSum(const float* in, int64_t stride, const int64_t* index, const float* value, int64_t terms, float* __restrict out, int64_t n) {
  float sum[kBlock] = {};
  for (int64_t t = 0; t < terms; ++t) {
    const float* __restrict row = in + index[t] * stride;
    const float weight = value[t];
    for (int64_t i = 0; i < n; ++i) sum[i] += weight * row[i];
  }
  for (int64_t i = 0; i < n; ++i) out[i] = sum[i];
}

}  // namespace

AxisMap::AxisMap(const at::Tensor& matrix) {
  const int64_t inputs = matrix.size(1);
  const float* data = matrix.data_ptr<float>();
  for (int64_t y = 0; y < matrix.size(0); ++y) {
    begin_.push_back(static_cast<int64_t>(index_.size()));
    for (int64_t x = 0; x < inputs; ++x) {
      if (data[y * inputs + x] == 0) continue;
      index_.push_back(x);
      value_.push_back(data[y * inputs + x]);
    }
  }
  begin_.push_back(static_cast<int64_t>(index_.size()));
}

DeviceAxisMap AxisMap::on(at::Device device) const {
  const auto copied = [device](const auto& values, auto element) {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(c10::CppTypeToScalarType<decltype(element)>::value));
    std::transform(values.begin(), values.end(), out.template data_ptr<decltype(element)>(), [](auto value) { return static_cast<decltype(element)>(value); });
    return out.to(device);
  };
  return {copied(begin_, int32_t{}), copied(index_, int32_t{}), copied(value_, float{})};
}

void AxisMap::apply(const float* in, int64_t inStride, float* out, int64_t outStride, int64_t inner) const {
  for (int64_t column = 0; column < inner; column += kBlock) {
    const int64_t width = std::min(kBlock, inner - column);
    for (int64_t y = 0; y < outputs(); ++y)
      weightedSum(in + column, inStride, &index_[begin_[y]], &value_[begin_[y]], begin_[y + 1] - begin_[y], out + y * outStride + column, width);
  }
}

}  // namespace ssn

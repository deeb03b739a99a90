#include "features/axis_map.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

namespace ssn {
namespace {

template <class T>
at::Tensor copied(const std::vector<T>& values, at::Device device) {
  at::Tensor out =
      at::empty({static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(c10::CppTypeToScalarType<T>::value));
  std::copy(values.begin(), values.end(), out.data_ptr<T>());
  return out.to(device);
}

}  // namespace

DeviceAxisMap::DeviceAxisMap(const at::Tensor& matrix, at::Device device) {
  const at::Tensor dense = matrix.contiguous();
  const float* data = dense.data_ptr<float>();
  std::vector<int32_t> begins{0}, indices;
  std::vector<float> values;
  for (int64_t y = 0; y < dense.size(0); ++y) {
    for (int64_t x = 0; x < dense.size(1); ++x, ++data) {
      if (*data == 0) continue;
      indices.push_back(static_cast<int32_t>(x));
      values.push_back(*data);
    }
    begins.push_back(static_cast<int32_t>(indices.size()));
  }
  begin = copied(begins, device);
  index = copied(indices, device);
  value = copied(values, device);
}

}  // namespace ssn

// A linear map along one axis whose matrix is banded: bilinear upscaling followed by pooling, and its shifted forms, mix
// a handful of neighbours. On the CPU only the non-zero entries are multiplied; elsewhere the dense matrix is used.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace ssn {

class AxisMap {
 public:
  AxisMap() = default;
  // matrix: out x in, float32, on the CPU.
  AxisMap(const at::Tensor& matrix, at::Device device);

  int64_t inputs() const { return forward_.inputs; }
  int64_t outputs() const { return forward_.outputs; }

  // A stack of `count` matrices (rows x inner) inside a tensor: where each starts, and how far apart its rows are.
  struct Layout {
    at::Tensor storage;          // contiguous
    int64_t offset, stride;      // of the first matrix; between matrices
    int64_t rowStride;
  };
  // out[n] = matrix . in[n] for n < count, rows of `inner` contiguous values.
  void apply(const Layout& in, const Layout& out, int64_t count, int64_t inner) const { apply(forward_, dense_, in, out, count, inner); }
  // out[n] = matrix^T . in[n].
  void applyTransposed(const Layout& in, const Layout& out, int64_t count, int64_t inner) const { apply(transposed_, denseTransposed_, in, out, count, inner); }

 private:
  struct Sparse {
    int64_t inputs = 0, outputs = 0;
    std::vector<int64_t> begin;  // outputs + 1
    std::vector<int64_t> index;
    std::vector<float> value;
  };
  static Sparse sparse(const at::Tensor& matrix);
  static void apply(const Sparse& matrix, const at::Tensor& dense, const Layout& in, const Layout& out, int64_t count, int64_t inner);

  Sparse forward_, transposed_;
  at::Tensor dense_, denseTransposed_;  // on the device, if that is not the CPU
};

}  // namespace ssn

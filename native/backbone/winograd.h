// A 3x3 convolution of stride 1 and padding 1 by Winograd's algorithm (A. Lavin, S. Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2015), float32 on the CPU: the same sums by exact algebra with fewer products. Tiles
// of m x m outputs: each (m+2)x(m+2) piece of the input is transformed, so is the weight (once, in double), and the
// sum over 9 positions becomes one product per frequency: m^2 9 / (m+2)^2 times fewer, 4 for m = 4 and 2.25 for m = 2.
#pragma once

#include <ATen/core/Tensor.h>

#include "tensor_map.h"

namespace ssn {

class Winograd {
 public:
  // Outputs per side of a tile, 4 or 2, or 0 where the direct convolution is faster. height, width: of the input.
  static int64_t tile(const at::Tensor& weight, int64_t stride, int64_t padding, int64_t height, int64_t width);

  // weight: out x in x 3 x 3, bias: out; float32, out a multiple of 32, in of 16.
  Winograd(const at::Tensor& weight, const at::Tensor& bias, int64_t tile);

  // x: b x in x H x W of any size, channels-last -> b x out x H x W, channels-last. Neither the batch nor the number of
  // threads changes a bit.
  at::Tensor operator()(const at::Tensor& x, bool relu) const;
  // relu(convolution(x) + residual), written into `residual`.
  at::Tensor addRelu(const at::Tensor& x, const at::Tensor& residual) const;

  int64_t bytes() const { return bytesOf(weight_) + bytesOf(bias_); }

 private:
  void run(const at::Tensor& x, const at::Tensor& out, bool add, bool relu) const;

  at::Tensor weight_;  // out/k x (m+2)^2 x in x k, k: outputs of one product
  at::Tensor bias_;
  int64_t tile_;
};

}  // namespace ssn

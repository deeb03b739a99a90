// A frozen convolution with bias, fused with ReLU, or with the residual branch's sum and ReLU. On the CPU, 3x3 float32
// convolutions use Winograd's algorithm where that is faster. The others use oneDNN through the operators that libtorch
// has for its compiler (namespace mkldnn): weights are laid out once, for the image size, and the element-wise part is
// applied while the result is in registers. Without oneDNN, and on other devices, it is at::conv2d and one kernel for
// the rest.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "backbone/winograd.h"
#include "tensor_map.h"

namespace ssn {

class Convolution {
 public:
  Convolution() = default;
  // weight: out x in x k x k, bias: out, both of the type and on the device to compute in; height, width: of the input,
  // for which the layout is chosen (other sizes work too).
  Convolution(const at::Tensor& weight, const at::Tensor& bias, int64_t stride, int64_t padding, int64_t height,
              int64_t width);

  // x: b x in x H x W, channels-last; so are the results.
  at::Tensor operator()(const at::Tensor& x, bool relu) const;
  // relu(convolution(x) + residual); may overwrite `residual`.
  at::Tensor addRelu(const at::Tensor& x, at::Tensor residual) const;

  // Bytes of its weights, as they are laid out.
  int64_t bytes() const {
    return bytesOf(weight_) + bytesOf(bias_) + bytesOf(packed_) + (winograd_ ? winograd_->bytes() : 0);
  }

 private:
  at::Tensor finished(const at::Tensor& x, const at::Tensor& residual, bool relu) const;

  at::Tensor weight_, bias_;
  // What runs instead of at::conv2d, if any; then weight_ is undefined.
  std::optional<Winograd> winograd_;
  at::Tensor packed_;  // oneDNN's layout
  int64_t stride_ = 1, padding_ = 0;
};

}  // namespace ssn

// What the noise adds behind the first convolution of each head, and the gradient that it gives their weights:
// conv(F + n) = conv(F) + conv(n), and n is zero but at the active positions.
//
// Where each position has noise of its own, its rows are gathered into a matrix (positions x C) and multiplied. Where
// positions share vectors (anomalies/latent_noise.h), only the vectors are multiplied: each position adds a row of the
// product, and in the gradient the positions' rows are summed by vector first.
#pragma once

#include <ATen/core/Tensor.h>

#include "anomalies/latent_noise.h"
#include "training/active_positions.h"

namespace ssn {

class NoisePath {
 public:
  // precision: of the operands of the products. `active` must outlive it.
  NoisePath(Noise noise, const ActivePositions& active, at::ScalarType precision);

  // noisy[p] = base[its cell's row] + w1 noise[p]. w1: K x C; base: b HW x K; noisy: rows() x K.
  void forwardRows(const at::Tensor& w1, const at::Tensor& base, at::Tensor noisy) const;
  // The gradient of w1 from that of `noisy`.
  at::Tensor backwardRows(const at::Tensor& noisy) const;

  // The 5x5 convolution with `kernel` (25 K x C, taps in the order dx, dy): planes[y - (dy - 2), x - (dx - 2)] +=
  // kernel[dx, dy] noise[p] for every active (y, x). planes: 2 images x H x W x K.
  void forwardTaps(const at::Tensor& kernel, at::Tensor planes) const;
  // The gradient of the kernel from that of the planes.
  at::Tensor backwardTaps(const at::Tensor& planes) const;

 private:
  at::Tensor vectors_;  // in the precision
  at::Tensor index_, weight_;
  at::Tensor order_, begin_;  // off the CPU: the positions by vector, and where each vector's begin
  const ActivePositions& active_;
  at::ScalarType precision_;

  bool shared() const { return index_.defined(); }
  at::Tensor sumRows(const at::Tensor& noisy) const;   // V x K
  at::Tensor sumTaps(const at::Tensor& planes) const;  // V x 25 K
};

}  // namespace ssn

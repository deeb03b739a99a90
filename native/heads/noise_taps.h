// The latent noise's share of the classification head's 5x5 convolution. Noise exists only at active positions, so the
// convolution is one dense product (positions x C) (C x 25 K) whose 25 blocks are added to the shifted positions.
#pragma once

#include <ATen/core/Tensor.h>

namespace ssn {

// On the CPU. plane: H x W x K, one sample; products: P x (25 K), taps in the order dx, dy; positions: P int32,
// ascending. plane[y - (dy - 2), x - (dx - 2)] += products[p, dx, dy] for every active (y, x).
void addNoiseTaps(at::Tensor plane, const at::Tensor& products, const at::Tensor& positions);

// The transpose: what the plane's gradient gives the products, into `products` (P x (25 K), contiguous).
void gatherNoiseTaps(const at::Tensor& plane, const at::Tensor& positions, at::Tensor products);

}  // namespace ssn

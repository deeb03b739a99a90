// The latent noise's share of the classification head's 5x5 convolution. Noise exists only at active positions, so the
// convolution is one dense product (positions x C) (C x 25 K) whose 25 blocks are added to the shifted positions.
#pragma once

#include <ATen/core/Tensor.h>

namespace ssn {

// plane: H x W x K, one sample, on the CPU; products: P x (25 K), taps in the order dx, dy; positions: P int32 on the CPU, ascending.
// plane[y - (dy - 2), x - (dx - 2)] += products[p, dx, dy] for every active (y, x).
void addNoiseTaps(at::Tensor plane, const at::Tensor& products, const at::Tensor& positions);

// The transpose: what the plane's gradient gives the products, into `products` (P x (25 K), contiguous).
void gatherNoiseTaps(const at::Tensor& plane, const at::Tensor& positions, at::Tensor products);

// The same on devices other than the CPU, for many samples at once. planes: n x H x W x K; cells: P, int64, indices into n H W.
void addNoiseTapsOn(at::Tensor planes, const at::Tensor& products, const at::Tensor& cells);
void gatherNoiseTapsOn(const at::Tensor& planes, const at::Tensor& cells, at::Tensor products);

}  // namespace ssn

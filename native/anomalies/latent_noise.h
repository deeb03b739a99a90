// Gaussian noise in feature space (spec section 3.2; paper section 3.3): N(0, std_c^2), independent per element.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ssn {

// Which random streams the samples of a duplicated batch have: sample s of 2 `images` draws from stream first + s, in the
// second copy from second + s - images.
struct NoiseStreams {
  uint64_t seed;
  int64_t step;
  int64_t images, first, second;
  int64_t plane;  // positions of a sample

  int64_t of(int64_t sample) const { return sample < images ? first + sample : second + sample - images; }
};

// P x C, where `cells` is (int64: sample * plane + position, a position is y * featureWidth + x): std[c] * z(seed, step, stream,
// position, c), z unit normal. std: C, undefined stands for ones. Values do not depend on which other cells are asked for, so
// noise is made only where a mask needs it; nor on the device: a GPU draws the same bits.
at::Tensor latentNoise(const NoiseStreams& streams, const at::Tensor& cells, int64_t channels, const at::Tensor& std);

}  // namespace ssn

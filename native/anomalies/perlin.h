// Perlin noise and the synthetic-anomaly masks made from it (docs/method.md, Synthetic anomalies; paper section 3.3).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ssn {

// noise(y, x) = sqrt(2) * lerp over the four corners of the lattice cell of dot(gradient, offset from the corner),
// faded by 6t^5 - 15t^4 + 10t^3. Gradients are unit vectors at `angles` (fractions of a turn), (latticeY + 1) x
// (latticeX + 1). Lattice coordinates are y * latticeY / height, so where the lattice is at least as fine as the grid
// every sample of that axis falls on lattice lines, where noise varies along the other axis only. out: height x width.
void perlinNoise(int64_t height, int64_t width, int64_t latticeY, int64_t latticeX, const float* angles, float* out);

// The mask of sample `copy` (0 .. 2b-1) in training step `step`: lattice sides 2^k with k uniform in 0..5 for each
// axis, noise at the next powers of two, resized bilinearly (half-pixel centres) to height x width, > threshold;
// emptied with probability 1/2. out: height x width of 0/1.
void perlinMask(uint64_t seed, int64_t step, int64_t copy, int64_t height, int64_t width, float threshold, float* out);

// The masks of samples first .. first + count - 1: float32, count x 1 x height x width.
at::Tensor perlinMasks(uint64_t seed, int64_t step, int64_t first, int64_t count, int64_t height, int64_t width,
                       float threshold);

}  // namespace ssn

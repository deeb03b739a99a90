#include "anomalies/perlin.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "images/resize.h"
#include "kernels/perlin.h"

namespace ssn {
namespace {

std::vector<LatticeSample> sampleAxis(int64_t size, int64_t lattice) {
  std::vector<LatticeSample> samples(size);
  for (int64_t i = 0; i < size; ++i) samples[i] = latticeSample(i, size, lattice);
  return samples;
}

}  // namespace

void perlinNoise(int64_t height, int64_t width, int64_t latticeY, int64_t latticeX, const float* angles, float* out) {
  const int64_t stride = latticeX + 1;
  std::vector<LatticeGradient> gradients((latticeY + 1) * stride);
  for (size_t i = 0; i < gradients.size(); ++i) gradients[i] = latticeGradient(angles[i]);
  const std::vector<LatticeSample> columns = sampleAxis(width, latticeX);
  for (int64_t y = 0; y < height; ++y) {
    const LatticeSample row = latticeSample(y, height, latticeY);
    const LatticeGradient *upper = &gradients[row.cell * stride], *lower = upper + stride;
    for (int64_t x = 0; x < width; ++x) {
      const LatticeSample& column = columns[x];
      out[y * width + x] = cellNoise(row, column, upper[column.cell], upper[column.cell + 1], lower[column.cell],
                                     lower[column.cell + 1]);
    }
  }
}

void perlinMask(uint64_t seed, int64_t step, int64_t copy, int64_t height, int64_t width, float threshold, float* out) {
  const RandomStream stream(seed, step, Purpose::perlinMask, copy);
  const auto [emptied, latticeY, latticeX] = perlinChoice(stream.block(0, 0));
  if (emptied) {
    std::fill(out, out + height * width, 0.0f);
    return;
  }
  std::vector<float> angles((latticeY + 1) * (latticeX + 1));
  for (size_t i = 0; i < angles.size(); ++i)
    angles[i] = unitUniform(stream.block(static_cast<uint32_t>(i / 4), 1)[i % 4]);

  const int64_t gridHeight = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(height)));
  const int64_t gridWidth = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(width)));
  if (gridHeight == height && gridWidth == width) {
    perlinNoise(height, width, latticeY, latticeX, angles.data(), out);
  } else {
    std::vector<float> noise(gridHeight * gridWidth);
    perlinNoise(gridHeight, gridWidth, latticeY, latticeX, angles.data(), noise.data());
    resizeMap(noise.data(), gridHeight, gridWidth, out, height, width, /*alignCorners=*/false);
  }
  for (int64_t i = 0; i < height * width; ++i) out[i] = out[i] > threshold ? 1.0f : 0.0f;
}

at::Tensor perlinMasks(uint64_t seed, int64_t step, int64_t first, int64_t count, int64_t height, int64_t width,
                       float threshold) {
  at::Tensor masks = at::empty({count, 1, height, width}, at::TensorOptions().dtype(at::kFloat));
  float* out = masks.mutable_data_ptr<float>();
  at::parallel_for(0, count, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      perlinMask(seed, step, first + i, height, width, threshold, out + i * height * width);
  });
  return masks;
}

}  // namespace ssn

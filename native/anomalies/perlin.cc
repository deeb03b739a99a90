#include "anomalies/perlin.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "anomalies/philox.h"
#include "images/resize.h"

namespace ssn {
namespace {

// Where the samples of one axis fall: lattice cell, position in the cell, faded position.
struct AxisSample {
  int64_t cell;
  float offset;
  float fade;
};

std::vector<AxisSample> sampleAxis(int64_t size, int64_t lattice) {
  std::vector<AxisSample> samples(size);
  for (int64_t i = 0; i < size; ++i) {
    const float t = static_cast<float>(i * lattice % size) / static_cast<float>(size);
    samples[i] = {i * lattice / size, t, t * t * t * (t * (t * 6 - 15) + 10)};
  }
  return samples;
}

float lerp(float a, float b, float t) { return a + t * (b - a); }

}  // namespace

void perlinNoise(int64_t height, int64_t width, int64_t latticeY, int64_t latticeX, const float* angles, float* out) {
  struct Gradient {
    float y, x;
  };
  const int64_t stride = latticeX + 1;
  std::vector<Gradient> gradients((latticeY + 1) * stride);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const float angle = 2 * std::numbers::pi_v<float> * angles[i];
    gradients[i] = {std::cos(angle), std::sin(angle)};
  }
  const std::vector<AxisSample> columns = sampleAxis(width, latticeX);
  const std::vector<AxisSample> rows = sampleAxis(height, latticeY);
  for (int64_t y = 0; y < height; ++y) {
    const AxisSample& row = rows[y];
    const Gradient* upper = &gradients[row.cell * stride];
    const Gradient* lower = upper + stride;
    for (int64_t x = 0; x < width; ++x) {
      const auto& [cell, offset, fade] = columns[x];
      const auto dot = [](const Gradient& gradient, float dy, float dx) { return gradient.y * dy + gradient.x * dx; };
      const float left = lerp(dot(upper[cell], row.offset, offset), dot(lower[cell], row.offset - 1, offset), row.fade);
      const float right = lerp(dot(upper[cell + 1], row.offset, offset - 1), dot(lower[cell + 1], row.offset - 1, offset - 1), row.fade);
      out[y * width + x] = std::numbers::sqrt2_v<float> * lerp(left, right, fade);
    }
  }
}

void perlinMask(uint64_t seed, int64_t step, int64_t copy, int64_t height, int64_t width, float threshold, float* out) {
  const RandomStream stream(seed, step, Purpose::perlinMask, copy);
  const PhiloxBlock choice = stream.block(0, 0);
  if (choice[2] >> 31 != 0) {
    std::fill(out, out + height * width, 0.0f);
    return;
  }
  const auto side = [](uint32_t word) { return int64_t{1} << (uint64_t{word} * 6 >> 32); };
  const int64_t latticeY = side(choice[0]), latticeX = side(choice[1]);
  std::vector<float> angles((latticeY + 1) * (latticeX + 1));
  for (size_t i = 0; i < angles.size(); ++i) angles[i] = unitUniform(stream.block(static_cast<uint32_t>(i / 4), 1)[i % 4]);

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

at::Tensor perlinMasks(uint64_t seed, int64_t step, int64_t first, int64_t count, int64_t height, int64_t width, float threshold) {
  at::Tensor masks = at::empty({count, 1, height, width}, at::TensorOptions().dtype(at::kFloat));
  float* out = masks.mutable_data_ptr<float>();
  at::parallel_for(0, count, /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) perlinMask(seed, step, first + i, height, width, threshold, out + i * height * width);
  });
  return masks;
}

}  // namespace ssn

// The masks of synthetic anomalies (docs/method.md, Synthetic anomalies; native/anomalies/perlin.h), as the CPU and a
// GPU both draw them: the same bits.
#pragma once

#include <cstdint>

#include "anomalies/philox.h"
#include "images/resize.h"
#include "kernels/noise.h"

namespace ssn {

enum class AnomalyKind {
  perlin,           // the paper's
  wholeSecondCopy,  // SimpleNet's: the whole map of the second copy of the batch, the first stays clean
  none,
};

struct LatticeGradient {
  float y, x;
};

// The unit vector (cos, sin) of an angle in turns, in [0, 1).
SSN_KERNEL LatticeGradient latticeGradient(float turns) {
  const int32_t quarter = static_cast<int32_t>(turns * 4.0f + 0.5f);
  float sine, cosine;
  sineCosine((turns * 4.0f - static_cast<float>(quarter)) * 1.57079633f, sine, cosine);
  switch (quarter & 3) {
    case 0:
      return {cosine, sine};
    case 1:
      return {-sine, cosine};
    case 2:
      return {-cosine, -sine};
    default:
      return {sine, -cosine};
  }
}

// Where a sample of one axis falls: lattice cell, position in the cell, faded position 6t^5 - 15t^4 + 10t^3.
struct LatticeSample {
  int64_t cell;
  float offset, fade;
};

SSN_KERNEL LatticeSample latticeSample(int64_t i, int64_t size, int64_t lattice) {
  const float t = static_cast<float>(i * lattice % size) / static_cast<float>(size);
  return {i * lattice / size, t, t * t * t * (t * (t * 6 - 15) + 10)};
}

SSN_KERNEL float lerp(float a, float b, float t) { return a + t * (b - a); }
SSN_KERNEL float dot(const LatticeGradient& gradient, float dy, float dx) { return gradient.y * dy + gradient.x * dx; }

// Noise within a cell, from the gradients of its corners (y, x).
SSN_KERNEL float cellNoise(const LatticeSample& row, const LatticeSample& column, const LatticeGradient& g00,
                           const LatticeGradient& g01, const LatticeGradient& g10, const LatticeGradient& g11) {
  const float left = lerp(dot(g00, row.offset, column.offset), dot(g10, row.offset - 1, column.offset), row.fade);
  const float right =
      lerp(dot(g01, row.offset, column.offset - 1), dot(g11, row.offset - 1, column.offset - 1), row.fade);
  return 1.41421356f * lerp(left, right, column.fade);
}

// What a sample draws before its mask: whether it is emptied, and the lattice's sides.
struct PerlinChoice {
  bool emptied;
  int64_t latticeY, latticeX;
};

SSN_KERNEL int64_t latticeSide(uint32_t word) { return int64_t{1} << (uint64_t{word} * 6 >> 32); }

SSN_KERNEL PerlinChoice perlinChoice(const PhiloxBlock& block) {
  return {block[2] >> 31 != 0, latticeSide(block[0]), latticeSide(block[1])};
}

namespace kernels {

// Where the samples of a duplicated batch have synthetic anomalies, before real defects are taken out. `stream`: of
// RandomStream, for a sample; so is `step`.
struct AnomalyField {
  AnomalyKind kind;
  uint32_t key0, key1;
  int64_t height, width, gridHeight, gridWidth;  // grid: the next powers of two
  float threshold;

  SSN_KERNEL bool operator()(uint32_t step, uint32_t stream, bool second, int64_t y, int64_t x) const {
    if (kind != AnomalyKind::perlin) return kind == AnomalyKind::wholeSecondCopy && second;
    const uint32_t tag = static_cast<uint32_t>(Purpose::perlinMask) << 24 | stream;
    const PerlinChoice choice = perlinChoice(philox4x32({0, 0, tag, step}, key0, key1));
    if (choice.emptied) return false;
    if (gridHeight == height && gridWidth == width) return noise(tag, step, choice, y, x) > threshold;
    const BilinearSamples row = bilinearSamples(y, gridHeight, height, false),
                          column = bilinearSamples(x, gridWidth, width, false);
    const float up = 1.0f - row.weight, left = 1.0f - column.weight;
    return up * (left * noise(tag, step, choice, row.low, column.low) +
                 column.weight * noise(tag, step, choice, row.low, column.high)) +
               row.weight * (left * noise(tag, step, choice, row.high, column.low) +
                             column.weight * noise(tag, step, choice, row.high, column.high)) >
           threshold;
  }

 private:
  SSN_KERNEL LatticeGradient gradient(uint32_t tag, uint32_t step, int64_t i) const {
    return latticeGradient(unitUniform(philox4x32({static_cast<uint32_t>(i / 4), 1, tag, step}, key0, key1)[i % 4]));
  }
  SSN_KERNEL float noise(uint32_t tag, uint32_t step, const PerlinChoice& choice, int64_t y, int64_t x) const {
    const LatticeSample row = latticeSample(y, gridHeight, choice.latticeY),
                        column = latticeSample(x, gridWidth, choice.latticeX);
    const int64_t stride = choice.latticeX + 1, corner = row.cell * stride + column.cell;
    return cellNoise(row, column, gradient(tag, step, corner), gradient(tag, step, corner + 1),
                     gradient(tag, step, corner + stride), gradient(tag, step, corner + stride + 1));
  }
};

// The masks of a step: samples x H x W of 0/1. Per position.
struct AnomalyMasks {
  AnomalyField field;
  const int64_t* step;            // one number, in the device's memory: a graph of the step is replayed with another
  int64_t images, first, second;  // of StepStreams
  float* out;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t x = i % field.width, y = i / field.width % field.height, sample = i / field.width / field.height;
    const bool copy = sample >= images;
    out[i] = field(static_cast<uint32_t>(*step),
                   static_cast<uint32_t>(copy ? second + sample - images : first + sample), copy, y, x)
                 ? 1.0f
                 : 0.0f;
  }
};

// How many positions of a sample have noise, for samples of many steps ahead. Per sample.
struct AnomalyCounts {
  static constexpr int kLanes = 256;
  using Partial = int32_t;

  AnomalyField field;
  const int64_t *step, *stream, *second, *target;  // of each sample; target: row of the real defects
  const uint8_t* real;                             // rows x H W of 0/1; null: noise also on real defects
  int32_t* out;

  SSN_KERNEL int32_t partial(int64_t sample, int lane) const {
    const int64_t plane = field.height * field.width;
    int32_t count = 0;
    for (int64_t p = lane; p < plane; p += kLanes) {
      if (real != nullptr && real[target[sample] * plane + p] != 0) continue;
      if (field(static_cast<uint32_t>(step[sample]), static_cast<uint32_t>(stream[sample]), second[sample] != 0,
                p / field.width, p % field.width))
        ++count;
    }
    return count;
  }
  static SSN_KERNEL int32_t combine(int32_t a, int32_t b) { return a + b; }
  SSN_KERNEL void store(int64_t sample, int32_t count) const { out[sample] = count; }
};

}  // namespace kernels

}  // namespace ssn

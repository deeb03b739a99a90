// The latent noise of a training step (native/anomalies/latent_noise.h), as the CPU and a GPU both draw it.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "anomalies/philox.h"
#include "kernels/element.h"

namespace ssn {

// Channels are dealt to Philox blocks in groups of 32: word j of block 8 g + i belongs to channel 32 g + 8 j + i, so
// that each of the four words fills runs of 8 neighbouring channels.
constexpr int64_t kNoiseRun = 8;
constexpr int64_t kNoiseGroup = 4 * kNoiseRun;

SSN_KERNEL int32_t bitsOf(float x) { return std::bit_cast<int32_t>(x); }
SSN_KERNEL float fromBits(int32_t x) { return std::bit_cast<float>(x); }

// ln(u) for u in [2^-32, 1]: u = 2^e m with m in [sqrt(1/2), sqrt(2)), ln(m) = 2 artanh((m - 1) / (m + 1)).
SSN_KERNEL float logUnit(float u) {
  const int32_t bits = bitsOf(u);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float m = fromBits(bits - (exponent << 23));
  const float s = (m - 1.0f) / (m + 1.0f);
  const float t = s * s;
  const float series = 2.0f + t * (2.0f / 3 + t * (2.0f / 5 + t * (2.0f / 7 + t * (2.0f / 9))));
  return static_cast<float>(exponent) * 0.693147181f + s * series;
}

// Taylor's series, exact to float precision for a in [-pi/4, pi/4].
SSN_KERNEL void sineCosine(float a, float& sine, float& cosine) {
  const float t = a * a;
  sine = a * (1.0f + t * (-1.0f / 6 + t * (1.0f / 120 + t * (-1.0f / 5040 + t * (1.0f / 362880)))));
  cosine = 1.0f + t * (-0.5f + t * (1.0f / 24 + t * (-1.0f / 720 + t * (1.0f / 40320 + t * (-1.0f / 3628800)))));
}

// Box-Muller: two words to two unit normals. The upper 2 bits of the second word pick the quadrant, the other 30 an
// angle in [-pi/4, pi/4).
SSN_KERNEL void boxMuller(uint32_t first, uint32_t second, float& x, float& y) {
  const float u = static_cast<float>(static_cast<int32_t>(first >> 1)) * 0x1p-31f + 0x1p-32f;
  const float radius = std::sqrt(-2.0f * logUnit(u));
  const float a = static_cast<float>(static_cast<int32_t>(second << 2)) * (0.785398163f * 0x1p-31f);
  float sine, cosine;
  sineCosine(a, sine, cosine);
  const bool swap = (second & 0x40000000u) != 0;
  const uint32_t sign = second & 0x80000000u;  // quadrants 2 and 3 are quadrants 0 and 1 turned by half a turn
  const float x0 = swap ? -sine : cosine;
  const float y0 = swap ? cosine : sine;
  x = radius * fromBits(bitsOf(x0) ^ static_cast<int32_t>(sign));
  y = radius * fromBits(bitsOf(y0) ^ static_cast<int32_t>(sign));
}

namespace kernels {

// Noise at the cells (sample * plane + position) of a batch, 0 where a cell is negative. Per cell and Philox block,
// four channels.
struct LatentNoise {
  Purpose purpose;
  uint32_t key0, key1;            // of RandomStream
  const int64_t* step;            // one number, in the device's memory: a graph of the step is replayed with another
  int64_t images, first, second;  // of StepStreams
  const int64_t* cells;
  int64_t plane, channels;
  const float* std;  // per channel; null: 1
  float* out;        // cells x C

  static SSN_KERNEL int64_t blocks(int64_t channels) { return (channels + kNoiseGroup - 1) / kNoiseGroup * kNoiseRun; }

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t block = i % blocks(channels), row = i / blocks(channels);
    const int64_t cell = cells[row];
    if (cell < 0) {
      for (int64_t j = 0; j < 4; ++j)
        if (const int64_t k = channel(block, j); k < channels) out[row * channels + k] = 0;
      return;
    }
    const int64_t sample = cell / plane, stream = sample < images ? first + sample : second + sample - images;
    const uint32_t tag = static_cast<uint32_t>(purpose) << 24 | static_cast<uint32_t>(stream),
                   position = static_cast<uint32_t>(cell % plane);
    const PhiloxBlock words =
        philox4x32({static_cast<uint32_t>(block), position, tag, static_cast<uint32_t>(*step)}, key0, key1);
    float values[4];
    boxMuller(words[0], words[1], values[0], values[1]);
    boxMuller(words[2], words[3], values[2], values[3]);
    for (int64_t j = 0; j < 4; ++j)
      if (const int64_t k = channel(block, j); k < channels)
        out[row * channels + k] = std == nullptr ? values[j] : values[j] * std[k];
  }

 private:
  static SSN_KERNEL int64_t channel(int64_t block, int64_t word) {
    return block / kNoiseRun * kNoiseGroup + word * kNoiseRun + block % kNoiseRun;
  }
};

// Which of `vectors` shared noise vectors each cell takes, and its sign: 1 or -1. Per cell; `vectors` itself, times 0,
// where a cell is negative.
struct NoiseChoice {
  uint32_t key0, key1;
  const int64_t* step;
  int64_t images, first, second;
  const int64_t* cells;
  int64_t plane, vectors;
  int32_t* index;
  float* weight;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t cell = cells[i];
    if (cell < 0) {
      index[i] = static_cast<int32_t>(vectors);
      weight[i] = 0;
      return;
    }
    const int64_t sample = cell / plane, stream = sample < images ? first + sample : second + sample - images;
    const uint32_t tag = static_cast<uint32_t>(Purpose::noiseChoice) << 24 | static_cast<uint32_t>(stream);
    const PhiloxBlock words =
        philox4x32({0, static_cast<uint32_t>(cell % plane), tag, static_cast<uint32_t>(*step)}, key0, key1);
    index[i] = static_cast<int32_t>(uint64_t{words[0]} * static_cast<uint64_t>(vectors) >> 32);
    weight[i] = (words[1] & 1) != 0 ? -1.0f : 1.0f;
  }
};

}  // namespace kernels

}  // namespace ssn

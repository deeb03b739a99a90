#include "anomalies/latent_noise.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "anomalies/philox.h"

namespace ssn {
namespace {

// Channels are dealt to Philox blocks in groups of 32: word j of block 8 g + i belongs to channel 32 g + 8 j + i, so
// that each of the four words fills runs of 8 neighbouring channels.
constexpr int64_t kRun = 8;
constexpr int64_t kGroup = 4 * kRun;
constexpr int64_t kBlocks = 64;            // Philox blocks per call of normals()
constexpr int64_t kValues = 4 * kBlocks;

// ln(u) for u in [2^-32, 1]: u = 2^e m with m in [sqrt(1/2), sqrt(2)), ln(m) = 2 artanh((m - 1) / (m + 1)).
inline float logUnit(float u) {
  const int32_t bits = std::bit_cast<int32_t>(u);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float m = std::bit_cast<float>(bits - (exponent << 23));
  const float s = (m - 1.0f) / (m + 1.0f);
  const float t = s * s;
  const float series = 2.0f + t * (2.0f / 3 + t * (2.0f / 5 + t * (2.0f / 7 + t * (2.0f / 9))));
  return static_cast<float>(exponent) * 0.693147181f + s * series;
}

// Box-Muller: two words to two unit normals. The upper 2 bits of the second word pick the quadrant, the other 30 an
// angle in [-pi/4, pi/4), where Taylor's series of sine and cosine are exact to float precision.
inline void boxMuller(uint32_t first, uint32_t second, float& x, float& y) {
  const float u = static_cast<float>(static_cast<int32_t>(first >> 1)) * 0x1p-31f + 0x1p-32f;
  const float radius = std::sqrt(-2.0f * logUnit(u));
  const float a = static_cast<float>(static_cast<int32_t>(second << 2)) * (0.785398163f * 0x1p-31f);
  const float t = a * a;
  const float sine = a * (1.0f + t * (-1.0f / 6 + t * (1.0f / 120 + t * (-1.0f / 5040 + t * (1.0f / 362880)))));
  const float cosine = 1.0f + t * (-0.5f + t * (1.0f / 24 + t * (-1.0f / 720 + t * (1.0f / 40320 + t * (-1.0f / 3628800)))));
  const bool swap = (second & 0x40000000u) != 0;
  const uint32_t sign = second & 0x80000000u;  // quadrants 2 and 3 are quadrants 0 and 1 turned by half a turn
  const float x0 = swap ? -sine : cosine;
  const float y0 = swap ? cosine : sine;
  x = radius * std::bit_cast<float>(std::bit_cast<uint32_t>(x0) ^ sign);
  y = radius * std::bit_cast<float>(std::bit_cast<uint32_t>(y0) ^ sign);
}

// The unit normals of kValues channels of one position, from block `firstBlock` on. out[4][kBlocks], by word.
void normals(const RandomStream& stream, uint32_t position, uint32_t firstBlock, float* out) {
  uint32_t words[4][kBlocks];
  const uint32_t tag = stream.tag, step = stream.step, key0 = stream.key0, key1 = stream.key1;
  for (int64_t i = 0; i < kBlocks; ++i) {
    const PhiloxBlock block = philox4x32({firstBlock + static_cast<uint32_t>(i), position, tag, step}, key0, key1);
    for (int j = 0; j < 4; ++j) words[j][i] = block[j];
  }
  for (int64_t i = 0; i < kBlocks; ++i) boxMuller(words[0][i], words[1][i], out[i], out[kBlocks + i]);
  for (int64_t i = 0; i < kBlocks; ++i) boxMuller(words[2][i], words[3][i], out[2 * kBlocks + i], out[3 * kBlocks + i]);
}

void noiseAt(const RandomStream& stream, int32_t position, int64_t channels, const float* std, float* out) {
  float values[kValues];
  for (int64_t start = 0; start < channels; start += kValues) {
    normals(stream, static_cast<uint32_t>(position), static_cast<uint32_t>(start / 4), values);
    for (int64_t first = start, run = 0; first < std::min(channels, start + kValues); first += kRun, ++run) {
      const int64_t group = run / 4, word = run % 4;
      const float* from = values + word * kBlocks + group * kRun;
      const int64_t count = std::min(kRun, channels - first);
      if (std == nullptr)
        for (int64_t i = 0; i < count; ++i) out[first + i] = from[i];
      else
        for (int64_t i = 0; i < count; ++i) out[first + i] = from[i] * std[first + i];
    }
  }
}

}  // namespace

void latentNoise(uint64_t seed, int64_t step, int64_t copy, const int32_t* positions, int64_t count, int64_t channels, const float* std, float* out) {
  const RandomStream stream(seed, step, Purpose::latentNoise, copy);
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, channels));
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) noiseAt(stream, positions[i], channels, std, out + i * channels);
  });
}

}  // namespace ssn

// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
// Everything random in training is a pure function of (seed, step, purpose, sample, two more indices): there is no
// state to save, and results depend neither on the number of threads nor on the order of the work.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "error.h"
#include "kernels/side.h"

namespace ssn {

using PhiloxBlock = std::array<uint32_t, 4>;

SSN_KERNEL PhiloxBlock philox4x32(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

enum class Purpose : uint32_t { perlinMask = 1, latentNoise = 2, noiseVectors = 3, noiseChoice = 4 };

// The random numbers of one purpose for one sample of one training step: 2^64 blocks, addressed by two indices.
// Counter words: first index, second index, purpose (8 bits) and sample (24 bits), step. Key: the seed.
struct RandomStream {
  uint32_t key0, key1, tag, step;

  RandomStream(uint64_t seed, int64_t stepIndex, Purpose purpose, int64_t sample)
      : key0(static_cast<uint32_t>(seed)),
        key1(static_cast<uint32_t>(seed >> 32)),
        tag(static_cast<uint32_t>(purpose) << 24 | static_cast<uint32_t>(sample)),
        step(static_cast<uint32_t>(stepIndex)) {
    if (stepIndex < 0 || stepIndex >= int64_t{1} << 32 || sample < 0 || sample >= int64_t{1} << 24)
      throw Error("INTERNAL", "random stream of step " + std::to_string(stepIndex) + ", sample " +
                                  std::to_string(sample) + " is out of range");
  }

  PhiloxBlock block(uint32_t first, uint32_t second) const {
    return philox4x32({first, second, tag, step}, key0, key1);
  }
};

// [0, 1), 24 bits.
SSN_KERNEL float unitUniform(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

}  // namespace ssn

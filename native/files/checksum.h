// A checksum that shows when the bytes of a file have changed since they were written.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ssn {

// Finds torn writes and flipped bits; it is not cryptographic. Four lanes make it as fast as memory. Every step is
// invertible, so a change in a single word always changes the result.
inline uint64_t checksumOf(const void* data, size_t bytes, uint64_t seed = 0) {
  const auto* at = static_cast<const uint8_t*>(data);
  uint64_t lanes[4] = {seed + 1, seed + 2, seed + 3, seed + 4};
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  const auto mix = [](uint64_t lane, uint64_t word) { return std::rotl(lane ^ word, 29) * kOdd; };
  for (; bytes >= 32; at += 32, bytes -= 32) {
    uint64_t words[4];
    std::memcpy(words, at, 32);
    for (int i = 0; i < 4; ++i) lanes[i] = mix(lanes[i], words[i]);
  }
  for (; bytes > 0; ++at, --bytes) lanes[0] = mix(lanes[0], *at);
  uint64_t out = 0;
  for (const uint64_t lane : lanes) out = mix(out, lane);
  return out;
}

}  // namespace ssn

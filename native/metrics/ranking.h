// Scored items in descending order of score: the one sort that all threshold metrics share. No libtorch.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace ssn {

// Score in the upper 32 bits, mapped so that a smaller integer is a larger score; payload in the lower 32.
using RankedItem = uint64_t;

// `score` must be finite. -0 and +0 are one score.
inline RankedItem rankedItem(float score, uint32_t payload) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);
  const uint32_t descending = bits >> 31 != 0 ? bits : ~bits & 0x7fffffffu;
  return uint64_t{descending} << 32 | payload;
}

inline uint32_t rankOf(RankedItem item) { return static_cast<uint32_t>(item >> 32); }
inline uint32_t payloadOf(RankedItem item) { return static_cast<uint32_t>(item); }

inline float scoreOf(RankedItem item) {
  const uint32_t rank = rankOf(item);
  return std::bit_cast<float>(rank >> 31 != 0 ? rank : ~rank & 0x7fffffffu);
}

// Stable radix sort on the score, descending. Needs the same memory once more while it runs.
void sortByScore(std::vector<RankedItem>& items);

}  // namespace ssn

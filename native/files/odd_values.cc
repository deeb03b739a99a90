#include "files/odd_values.h"

#include <bit>
#include <cstdint>

#include "platform.h"

namespace ssn {
namespace {

SSN_VECTORISED void count(const float* values, size_t n, size_t& notFinite, size_t& negative) {
  constexpr size_t kBlock = 1 << 16;  // 32-bit sums vectorise, and do not overflow within a block
  for (size_t start = 0; start < n; start += kBlock) {
    const size_t end = start + kBlock < n ? start + kBlock : n;
    uint32_t odd = 0, below = 0;
    for (size_t i = start; i < end; ++i) {
      // By the bits: the compiler may assume that floats are finite elsewhere, never here.
      const auto bits = std::bit_cast<uint32_t>(values[i]);
      const uint32_t magnitude = bits & 0x7fffffff;
      odd += magnitude >= 0x7f800000 ? 1 : 0;
      below += (bits >> 31) & (magnitude != 0 ? 1u : 0u) & (magnitude < 0x7f800000 ? 1u : 0u);
    }
    notFinite += odd;
    negative += below;
  }
}

}  // namespace

OddValues oddValues(const float* values, size_t n) {
  OddValues out{0, 0};
  count(values, n, out.notFinite, out.negative);
  return out;
}

}  // namespace ssn

// Vector registers of the instruction set at hand (vector extensions of GCC and Clang), for kernels written once and
// compiled for each set: GCC keeps vectors longer than a register in memory, so the width is a template parameter, and
// target_clones (SSN_VECTORISED) will not do.
#pragma once

#include <ATen/Version.h>
#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "platform.h"

namespace ssn {

// Written out, because GCC 12 misreads integer vectors of a dependent size.
template <int lanes>
struct Integers;
template <>
struct Integers<4> {
  typedef uint16_t Halves __attribute__((vector_size(8)));
  typedef uint32_t Words __attribute__((vector_size(16)));
};
template <>
struct Integers<8> {
  typedef uint16_t Halves __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(32)));
};
template <>
struct Integers<16> {
  typedef uint16_t Halves __attribute__((vector_size(32)));
  typedef uint32_t Words __attribute__((vector_size(64)));
};

template <int lanes>
struct Register {
  static constexpr int64_t kLanes = lanes;
  typedef float Lanes __attribute__((vector_size(4 * lanes)));

  static SSN_INLINE Lanes load(const float* p) {
    typedef float Unaligned __attribute__((vector_size(4 * lanes), aligned(4), may_alias));
    return *reinterpret_cast<const Unaligned*>(p);
  }
  static SSN_INLINE Lanes load(const c10::BFloat16* p) {
    typename Integers<lanes>::Halves halves;
    std::memcpy(&halves, p, sizeof halves);
    return reinterpret_cast<Lanes>(__builtin_convertvector(halves, typename Integers<lanes>::Words) << 16);
  }
  static SSN_INLINE void store(float* p, const Lanes& v) {
    typedef float Unaligned __attribute__((vector_size(4 * lanes), aligned(4), may_alias));
    *reinterpret_cast<Unaligned*>(p) = v;
  }
  // Rounds to the nearest, ties to even; NaN stays NaN.
  static SSN_INLINE void store(c10::BFloat16* p, const Lanes& v) {
    using Words = typename Integers<lanes>::Words;
    Words bits;
    std::memcpy(&bits, &v, sizeof bits);
    const Words odd = (bits >> 16) & 1, magnitude = bits & 0x7fffffff;
    const Words isNan = reinterpret_cast<Words>(magnitude > 0x7f800000);  // all ones, or 0
    const Words rounded = ((bits + 0x7fff + odd) >> 16 & ~isNan) | (isNan & 0x7fc0);
    const auto halves = __builtin_convertvector(rounded, typename Integers<lanes>::Halves);
    std::memcpy(p, &halves, sizeof halves);
  }
};

using Baseline = Register<4>;  // x86-64 without extensions, and other architectures
using Avx2 = Register<8>;
using Avx512 = Register<16>;

// The entry for this processor; ATEN_CPU_CAPABILITY=avx2 or default, libtorch's own switch, chooses another. The
// baseline stands in for an entry that the compiler cannot make.
template <class Entry>
Entry forProcessor(const Entry& baseline, const Entry& avx2, const Entry& avx512) {
  const std::string capability = at::get_cpu_capability();
  return capability == "AVX512" ? avx512 : capability == "AVX2" ? avx2 : baseline;
}

// Channels come in runs of 128, summed in registers: all at once with AVX-512, else in parts of eight registers.
constexpr int64_t kRun = 128;
constexpr int64_t kSums = 8;

// sum += weight[i] in[offset[i]...]
template <class R, class T>
SSN_INLINE void addTerms(typename R::Lanes (&sum)[kSums], const T* in, const int64_t* offset, const float* weight,
                         int64_t terms) {
  for (int64_t i = 0; i < terms; ++i) {
    const T* p = in + offset[i];
    const float w = weight[i];
#pragma GCC unroll 8
    for (int64_t j = 0; j < kSums; ++j) sum[j] += w * R::load(p + j * R::kLanes);
  }
}

}  // namespace ssn

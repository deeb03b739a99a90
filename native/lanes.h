// Sixteen floats at a time, in the registers that the instruction set at hand has (vector extensions of GCC and Clang). For
// functions marked SSN_VECTORISED (platform.h); what they share is SSN_INLINE, so that each clone has its own copy.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

#include "platform.h"

namespace ssn {

constexpr int64_t kLanes = 16;
typedef float Lanes __attribute__((vector_size(4 * kLanes)));

SSN_INLINE Lanes load(const float* p) {
  typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
  return *reinterpret_cast<const Unaligned*>(p);
}

SSN_INLINE Lanes load(const c10::BFloat16* p) {
  typedef uint16_t Halves __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));
  typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
  return reinterpret_cast<Lanes>(__builtin_convertvector(*reinterpret_cast<const Halves*>(p), Words) << 16);
}

SSN_INLINE void store(float* p, const Lanes& v) {
  typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
  *reinterpret_cast<Unaligned*>(p) = v;
}

// Sums of 128 neighbouring channels fit the registers.
constexpr int64_t kRunLanes = 8;
constexpr int64_t kRun = kRunLanes * kLanes;

// sum += weight[i] in[offset[i]...]
template <class T>
SSN_INLINE void addTerms(Lanes (&sum)[kRunLanes], const T* in, const int64_t* offset, const float* weight, int64_t terms) {
  for (int64_t i = 0; i < terms; ++i) {
    const T* p = in + offset[i];
    const float w = weight[i];
#pragma GCC unroll 8
    for (int64_t j = 0; j < kRunLanes; ++j) sum[j] += w * load(p + j * kLanes);
  }
}

}  // namespace ssn

// What kernels are made of: no libtorch beyond its element types, and nothing that only one compiler knows.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstdint>

#include "kernels/side.h"

namespace ssn {

// Four neighbouring channels, loaded and stored together. Addresses are multiples of four elements.
struct Four {
  float v[4];
};

template <class T>
struct alignas(4 * sizeof(T)) Packed {
  T v[4];
};

template <class T>
SSN_KERNEL Four load(const T* from) {
  const Packed<T> packed = *reinterpret_cast<const Packed<T>*>(from);
  return {{static_cast<float>(packed.v[0]), static_cast<float>(packed.v[1]), static_cast<float>(packed.v[2]),
           static_cast<float>(packed.v[3])}};
}

template <class T>
SSN_KERNEL void store(T* to, const Four& x) {
  Packed<T> packed;
  for (int i = 0; i < 4; ++i) packed.v[i] = static_cast<T>(x.v[i]);
  *reinterpret_cast<Packed<T>*>(to) = packed;
}

SSN_KERNEL void addScaled(Four& sum, float weight, const Four& x) {
  for (int i = 0; i < 4; ++i) sum.v[i] += weight * x.v[i];
}

SSN_KERNEL void addTo(float* to, const Four& x) {
  Four sum = load(to);
  addScaled(sum, 1.0f, x);
  store(to, sum);
}

// leaky(scale x + shift) . weight over four channels.
SSN_KERNEL float leakyDot(const Four& x, const Four& scale, const Four& shift, const Four& weight, float slope) {
  float sum = 0;
  for (int i = 0; i < 4; ++i) {
    const float a = x.v[i] * scale.v[i] + shift.v[i];
    sum += (a > 0 ? a : a * slope) * weight.v[i];
  }
  return sum;
}

// A sparse matrix in compressed rows (native/features/axis_map.h): row y has terms begin[y] to begin[y + 1].
struct SparseRows {
  const int32_t* begin;
  const int32_t* index;
  const float* value;
};

}  // namespace ssn

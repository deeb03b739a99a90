#include "heads/noise_taps.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "heads/parameters.h"
#include "platform.h"

namespace ssn {
namespace {

constexpr int64_t kReach = kTapSide / 2;

SSN_VECTORISED void add(float* __restrict to, const float* __restrict from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

// Calls body(p, tap, row of the plane) for every product whose target lies inside, in a fixed order.
template <class Body>
void forEachTap(int64_t height, int64_t width, const at::Tensor& positions, int64_t begin, int64_t end, Body&& body) {
  const int32_t* position = positions.data_ptr<int32_t>();
  for (int64_t p = begin; p < end; ++p) {
    const int64_t y = position[p] / width, x = position[p] % width;
    for (int64_t dx = 0; dx < kTapSide; ++dx)
      for (int64_t dy = 0; dy < kTapSide; ++dy) {
        const int64_t toY = y - (dy - kReach), toX = x - (dx - kReach);
        const bool inside = toY >= 0 && toY < height && toX >= 0 && toX < width;
        body(p, dx * kTapSide + dy, inside ? toY * width + toX : -1);
      }
  }
}

}  // namespace

void addNoiseTaps(at::Tensor plane, const at::Tensor& products, const at::Tensor& positions) {
  const int64_t height = plane.size(0), width = plane.size(1), k = plane.size(2), count = positions.numel();
  if (count == 0) return;
  float* out = plane.data_ptr<float>();
  const float* in = products.data_ptr<float>();
  // Threads share the channels, so that two positions never write to the same place at once.
  constexpr int64_t kBlock = 32;
  at::parallel_for(0, (k + kBlock - 1) / kBlock, 1, [&](int64_t begin, int64_t end) {
    const int64_t from = begin * kBlock, n = std::min(k, end * kBlock) - from;
    forEachTap(height, width, positions, 0, count, [&](int64_t p, int64_t tap, int64_t row) {
      if (row >= 0) add(out + row * k + from, in + (p * kTaps + tap) * k + from, n);
    });
  });
}

void gatherNoiseTaps(const at::Tensor& plane, const at::Tensor& positions, at::Tensor products) {
  const int64_t height = plane.size(0), width = plane.size(1), k = plane.size(2), count = positions.numel();
  if (count == 0) return;
  float* to = products.data_ptr<float>();
  const float* from = plane.data_ptr<float>();
  at::parallel_for(0, count, 16, [&](int64_t begin, int64_t end) {
    forEachTap(height, width, positions, begin, end, [&](int64_t p, int64_t tap, int64_t row) {
      float* cell = to + (p * kTaps + tap) * k;
      if (row >= 0) {
        std::memcpy(cell, from + row * k, k * sizeof(float));
      } else {
        std::memset(cell, 0, k * sizeof(float));
      }
    });
  });
}

}  // namespace ssn

#include "detection/map_upscale.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace ssn {
namespace {

constexpr double kSigma = 4.0;
constexpr int64_t kRadius = 12;  // kernel 25

// Reflection without repeating the border, as often as a short axis needs.
int64_t reflected(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

}  // namespace

at::Tensor upscaleBlurMatrix(int64_t in, int64_t out) {
  std::vector<double> kernel(2 * kRadius + 1);
  double sum = 0;
  for (int64_t d = -kRadius; d <= kRadius; ++d) sum += kernel[d + kRadius] = std::exp(-0.5 * d * d / (kSigma * kSigma));
  at::Tensor matrix = at::zeros({out, in}, at::kFloat);
  float* data = matrix.data_ptr<float>();
  std::vector<double> row(in);
  for (int64_t y = 0; y < out; ++y) {
    std::fill(row.begin(), row.end(), 0.0);
    for (int64_t d = -kRadius; d <= kRadius; ++d) {
      const double source = std::max(0.0, (reflected(y + d, out) + 0.5) * in / out - 0.5);
      const int64_t low = std::min<int64_t>(static_cast<int64_t>(source), in - 1);
      const double t = source - low;
      row[low] += kernel[d + kRadius] / sum * (1.0 - t);
      row[std::min(low + 1, in - 1)] += kernel[d + kRadius] / sum * t;
    }
    for (int64_t x = 0; x < in; ++x) data[y * in + x] = static_cast<float>(row[x]);
  }
  return matrix;
}

}  // namespace ssn

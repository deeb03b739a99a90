#include "anomalies/distance_weight.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "images/components.h"

namespace ssn {
namespace {

constexpr int64_t kNone = std::numeric_limits<int32_t>::max();  // no pixel outside in this column

// Lower envelope of the parabolas f(q) + (x - q)^2 of one row (Felzenszwalb and Huttenlocher, "Distance transforms of
// sampled functions", 2012), in integers: out[x] = min over q of f[q] + (x - q)^2, -1 where every f is infinite
// (negative).
class Envelope {
 public:
  explicit Envelope(int64_t width) : apex_(width), start_(width) {}

  void transform(const int64_t* f, int64_t width, int64_t* out) {
    int64_t count = 0;
    for (int64_t q = 0; q < width; ++q) {
      if (f[q] < 0) continue;
      int64_t start = 0;
      while (count > 0) {
        start = firstWhereBetter(f, apex_[count - 1], q);
        if (start > start_[count - 1]) break;
        --count;
      }
      if (count == 0) start = 0;
      if (start >= width) continue;
      apex_[count] = q;
      start_[count++] = start;
    }
    if (count == 0) {
      std::fill(out, out + width, -1);
      return;
    }
    for (int64_t x = 0, k = 0; x < width; ++x) {
      while (k + 1 < count && start_[k + 1] <= x) ++k;
      out[x] = f[apex_[k]] + (x - apex_[k]) * (x - apex_[k]);
    }
  }

 private:
  // The first x at which the parabola of q is at most that of the earlier apex a.
  static int64_t firstWhereBetter(const int64_t* f, int64_t a, int64_t q) {
    const int64_t numerator = f[q] + q * q - f[a] - a * a;
    const int64_t denominator = 2 * (q - a);
    return numerator <= 0 ? 0 : (numerator + denominator - 1) / denominator;
  }

  std::vector<int64_t> apex_, start_;
};

// Squared distance of every pixel to the nearest zero pixel, -1 where the mask has none.
std::vector<int64_t> squaredDistances(const uint8_t* mask, int64_t height, int64_t width) {
  std::vector<int64_t> out(height * width);
  for (int64_t x = 0; x < width; ++x) {  // out = distance within the column
    int64_t distance = kNone;
    for (int64_t y = 0; y < height; ++y) {
      distance = mask[y * width + x] == 0 ? 0 : std::min(kNone, distance + 1);
      out[y * width + x] = distance;
    }
    distance = kNone;
    for (int64_t y = height - 1; y >= 0; --y) {
      distance = mask[y * width + x] == 0 ? 0 : std::min(kNone, distance + 1);
      out[y * width + x] = std::min(out[y * width + x], distance);
    }
  }
  Envelope envelope(width);
  std::vector<int64_t> row(width);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t distance = out[y * width + x];
      row[x] = distance == kNone ? -1 : distance * distance;
    }
    envelope.transform(row.data(), width, &out[y * width]);
  }
  return out;
}

}  // namespace

void distanceWeight(const uint8_t* mask, int64_t height, int64_t width, float w, float p, float* out) {
  const int64_t pixels = height * width;
  std::vector<int32_t> labels(pixels);
  const int32_t components = labelComponents(mask, height, width, labels.data());
  if (components == 0) {
    std::fill(out, out + pixels, 1.0f);
    return;
  }
  // One transform serves all components: 8-connected components never touch, so the nearest pixel outside a component
  // is never part of another.
  const std::vector<int64_t> squared = squaredDistances(mask, height, width);
  std::vector<int64_t> farthest(components + 1, 0);
  for (int64_t i = 0; i < pixels; ++i) farthest[labels[i]] = std::max(farthest[labels[i]], squared[i]);
  for (int64_t i = 0; i < pixels; ++i) {
    const int32_t label = labels[i];
    if (label == 0) {
      out[i] = 1.0f;
    } else if (squared[i] < 0) {
      out[i] = w;
    } else {
      const double ratio = std::sqrt(static_cast<double>(squared[i]) / static_cast<double>(farthest[label]));
      out[i] = static_cast<float>(w * std::pow(ratio, static_cast<double>(p)));
    }
  }
}

void dilate(const uint8_t* mask, int64_t height, int64_t width, int64_t size, uint8_t* out) {
  const int64_t before = size <= 1 ? 0 : size / 2;            // how far the window reaches up and left
  const int64_t after = size <= 1 ? 0 : size - 1 - size / 2;  // and down and right
  // Separable; a set pixel marks the run [x - after, x + before].
  const auto spread = [&](const uint8_t* from, int64_t length, int64_t stride, uint8_t* to) {
    int64_t marked = 0;  // everything before this index is decided
    for (int64_t i = 0; i < length; ++i) {
      if (from[i * stride] == 0) continue;
      const int64_t first = std::max(marked, i - after), last = std::min(length - 1, i + before);
      for (int64_t j = first; j <= last; ++j) to[j * stride] = 1;
      marked = std::max(marked, last + 1);
    }
  };
  std::vector<uint8_t> rows(height * width, 0);
  for (int64_t y = 0; y < height; ++y) spread(mask + y * width, width, 1, &rows[y * width]);
  std::fill(out, out + height * width, uint8_t{0});
  for (int64_t x = 0; x < width; ++x) spread(&rows[x], height, width, out + x);
}

}  // namespace ssn

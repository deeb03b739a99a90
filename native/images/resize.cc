#include "images/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "platform.h"

namespace ssn {
namespace {

std::vector<BilinearSamples> bilinearTable(int64_t from, int64_t to, bool alignCorners) {
  std::vector<BilinearSamples> table(to);
  for (int64_t i = 0; i < to; ++i) table[i] = bilinearSamples(i, from, to, alignCorners);
  return table;
}

// Round half to even by the carry of a float addition: exact for |value| < 2^22, and it vectorises.
inline uint8_t toByte(float value) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  const float rounded = (value + kMagic) - kMagic;
  return static_cast<uint8_t>(std::clamp(rounded, 0.0f, 255.0f));
}

void resizeBilinear(const uint8_t* image, int64_t height, int64_t width, int64_t channels, uint8_t* out,
                    int64_t toHeight, int64_t toWidth) {
  const std::vector<BilinearSamples> rows = bilinearTable(height, toHeight, /*alignCorners=*/false);
  const std::vector<BilinearSamples> columns = bilinearTable(width, toWidth, /*alignCorners=*/false);
  for (int64_t y = 0; y < toHeight; ++y) {
    const uint8_t* upper = image + rows[y].low * width * channels;
    const uint8_t* lower = image + rows[y].high * width * channels;
    const float down = rows[y].weight, up = 1.0f - down;
    for (int64_t x = 0; x < toWidth; ++x) {
      const int64_t low = columns[x].low * channels, high = columns[x].high * channels;
      const float right = columns[x].weight, left = 1.0f - right;
      for (int64_t c = 0; c < channels; ++c) {
        const float value = up * (left * upper[low + c] + right * upper[high + c]) +
                            down * (left * lower[low + c] + right * lower[high + c]);
        *out++ = toByte(value);
      }
    }
  }
}

// The source samples of one target sample under the triangle filter, and where their weights start.
struct Window {
  int64_t first, count;
  size_t weights;
};

struct Windows {
  std::vector<Window> windows;
  std::vector<float> weights;
};

Windows triangleWindows(int64_t from, int64_t to) {
  Windows out;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double support = std::max(scale, 1.0);
  for (int64_t i = 0; i < to; ++i) {
    const double center = scale * (static_cast<double>(i) + 0.5);
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t last = std::min<int64_t>(from, static_cast<int64_t>(center + support + 0.5));
    out.windows.push_back({first, last - first, out.weights.size()});
    double sum = 0;
    std::vector<double> weights;
    for (int64_t j = first; j < last; ++j) {
      weights.push_back(std::max(0.0, 1.0 - std::abs(static_cast<double>(j) + 0.5 - center) / support));
      sum += weights.back();
    }
    for (const double weight : weights) out.weights.push_back(static_cast<float>(weight / sum));
  }
  return out;
}

SSN_VECTORISED void addScaled(float* __restrict to, const uint8_t* __restrict from, float weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += weight * static_cast<float>(from[i]);
}

// Rows first: the vertical pass runs over whole rows and vectorises; the horizontal one is left with toHeight rows.
void resizeAntialias(const uint8_t* image, int64_t height, int64_t width, int64_t channels, uint8_t* out,
                     int64_t toHeight, int64_t toWidth) {
  const Windows rows = triangleWindows(height, toHeight);
  const Windows columns = triangleWindows(width, toWidth);
  const int64_t rowLength = width * channels;
  std::vector<float> row(rowLength);
  for (int64_t y = 0; y < toHeight; ++y) {
    const Window& vertical = rows.windows[y];
    std::fill(row.begin(), row.end(), 0.0f);
    constexpr int64_t kBlock = 4096;  // floats that stay in the first-level cache
    for (int64_t x = 0; x < rowLength; x += kBlock)
      for (int64_t j = 0; j < vertical.count; ++j)
        addScaled(row.data() + x, image + (vertical.first + j) * rowLength + x, rows.weights[vertical.weights + j],
                  std::min(kBlock, rowLength - x));
    for (int64_t x = 0; x < toWidth; ++x) {
      const Window& horizontal = columns.windows[x];
      const float* weights = &columns.weights[horizontal.weights];
      const float* from = &row[horizontal.first * channels];
      if (channels == 3) {  // three sums at once: one alone waits for each of its additions
        float sums[3] = {};
        for (int64_t j = 0; j < horizontal.count; ++j)
          for (int c = 0; c < 3; ++c) sums[c] += weights[j] * from[3 * j + c];
        for (const float sum : sums) *out++ = toByte(sum);
        continue;
      }
      for (int64_t c = 0; c < channels; ++c) {
        float sum = 0;
        for (int64_t j = 0; j < horizontal.count; ++j) sum += weights[j] * from[j * channels + c];
        *out++ = toByte(sum);
      }
    }
  }
}

std::vector<int64_t> nearestIndices(int64_t from, int64_t to) {
  std::vector<int64_t> indices(to);
  const double step = 1.0 / (static_cast<double>(to) / static_cast<double>(from));  // as OpenCV computes it
  for (int64_t i = 0; i < to; ++i)
    indices[i] = std::min(static_cast<int64_t>(std::floor(static_cast<double>(i) * step)), from - 1);
  return indices;
}

void resizeNearest(const uint8_t* image, int64_t height, int64_t width, int64_t channels, uint8_t* out,
                   int64_t toHeight, int64_t toWidth) {
  const std::vector<int64_t> rows = nearestIndices(height, toHeight);
  const std::vector<int64_t> columns = nearestIndices(width, toWidth);
  for (int64_t y = 0; y < toHeight; ++y) {
    const uint8_t* from = image + rows[y] * width * channels;
    for (int64_t x = 0; x < toWidth; ++x)
      for (int64_t c = 0; c < channels; ++c) *out++ = from[columns[x] * channels + c];
  }
}

}  // namespace

void resizeImage(const uint8_t* image, int64_t height, int64_t width, int64_t channels, uint8_t* out, int64_t toHeight,
                 int64_t toWidth, ResizeMethod method) {
  if (height == toHeight && width == toWidth) {
    std::memcpy(out, image, static_cast<size_t>(height * width * channels));
    return;
  }
  switch (method) {
    case ResizeMethod::bilinear:
      return resizeBilinear(image, height, width, channels, out, toHeight, toWidth);
    case ResizeMethod::antialias:
      return resizeAntialias(image, height, width, channels, out, toHeight, toWidth);
    case ResizeMethod::nearest:
      return resizeNearest(image, height, width, channels, out, toHeight, toWidth);
  }
}

void resizeMap(const float* map, int64_t height, int64_t width, float* out, int64_t toHeight, int64_t toWidth,
               bool alignCorners) {
  const std::vector<BilinearSamples> rows = bilinearTable(height, toHeight, alignCorners);
  const std::vector<BilinearSamples> columns = bilinearTable(width, toWidth, alignCorners);
  for (int64_t y = 0; y < toHeight; ++y) {
    const float* upper = map + rows[y].low * width;
    const float* lower = map + rows[y].high * width;
    const float down = rows[y].weight, up = 1.0f - down;
    for (int64_t x = 0; x < toWidth; ++x) {
      const auto& [low, high, right] = columns[x];
      const float left = 1.0f - right;
      *out++ = up * (left * upper[low] + right * upper[high]) + down * (left * lower[low] + right * lower[high]);
    }
  }
}

}  // namespace ssn

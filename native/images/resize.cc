#include "images/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "error.h"
#include "platform.h"

namespace ssn {
namespace {

// The targets that a table is for: `count` from `first` on. Those beyond the edges repeat the outermost.
struct Targets {
  int64_t first, count, to;

  static Targets all(int64_t to) { return {0, to, to}; }
  int64_t operator[](int64_t i) const { return std::clamp<int64_t>(first + i, 0, to - 1); }
};

std::vector<BilinearSamples> bilinearTable(int64_t from, Targets targets, bool alignCorners) {
  std::vector<BilinearSamples> table(targets.count);
  for (int64_t i = 0; i < targets.count; ++i) table[i] = bilinearSamples(targets[i], from, targets.to, alignCorners);
  return table;
}

// Round half to even by the carry of a float addition: exact for |value| < 2^22, and it vectorises.
inline uint8_t toByte(float value) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  const float rounded = (value + kMagic) - kMagic;
  return static_cast<uint8_t>(std::clamp(rounded, 0.0f, 255.0f));
}

using BilinearTable = std::vector<BilinearSamples>;

void resizeBilinear(const uint8_t* image, int64_t width, int64_t channels, const BilinearTable& rows,
                    const BilinearTable& columns, uint8_t* out) {
  for (const auto& [lowRow, highRow, down] : rows) {
    const uint8_t* upper = image + lowRow * width * channels;
    const uint8_t* lower = image + highRow * width * channels;
    const float up = 1.0f - down;
    for (const BilinearSamples& column : columns) {
      const int64_t low = column.low * channels, high = column.high * channels;
      const float right = column.weight, left = 1.0f - right;
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

Windows triangleWindows(int64_t from, Targets targets) {
  Windows out;
  const double scale = static_cast<double>(from) / static_cast<double>(targets.to);
  const double support = std::max(scale, 1.0);
  for (int64_t i = 0; i < targets.count; ++i) {
    const double center = scale * (static_cast<double>(targets[i]) + 0.5);
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

// Rows first: the vertical pass runs over whole rows and vectorises; the horizontal one is left with the target's rows.
void resizeAntialias(const uint8_t* image, int64_t width, int64_t channels, const Windows& rows, const Windows& columns,
                     uint8_t* out) {
  const int64_t rowLength = width * channels;
  std::vector<float> row(rowLength);
  for (const Window& vertical : rows.windows) {
    std::fill(row.begin(), row.end(), 0.0f);
    constexpr int64_t kBlock = 4096;  // floats that stay in the first-level cache
    for (int64_t x = 0; x < rowLength; x += kBlock)
      for (int64_t j = 0; j < vertical.count; ++j)
        addScaled(row.data() + x, image + (vertical.first + j) * rowLength + x, rows.weights[vertical.weights + j],
                  std::min(kBlock, rowLength - x));
    for (const Window& horizontal : columns.windows) {
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

std::vector<int64_t> nearestIndices(int64_t from, Targets targets) {
  std::vector<int64_t> indices(targets.count);
  const double step = 1.0 / (static_cast<double>(targets.to) / static_cast<double>(from));  // as OpenCV computes it
  for (int64_t i = 0; i < targets.count; ++i)
    indices[i] = std::min(static_cast<int64_t>(std::floor(static_cast<double>(targets[i]) * step)), from - 1);
  return indices;
}

void resizeNearest(const uint8_t* image, int64_t width, int64_t channels, const std::vector<int64_t>& rows,
                   const std::vector<int64_t>& columns, uint8_t* out) {
  for (const int64_t row : rows) {
    const uint8_t* from = image + row * width * channels;
    for (const int64_t column : columns)
      for (int64_t c = 0; c < channels; ++c) *out++ = from[column * channels + c];
  }
}

struct Span {
  int64_t first, last;  // exclusive
};

Span sourceOf(const BilinearTable& table) {
  return {table.front().low, table.back().high + 1};  // sources rise with their targets
}

Span sourceOf(const std::vector<int64_t>& indices) { return {indices.front(), indices.back() + 1}; }

Span sourceOf(const Windows& windows) {
  const Window &first = windows.windows.front(), &last = windows.windows.back();
  return {first.first, last.first + last.count};
}

void moveBy(BilinearTable& table, int64_t offset) {
  for (auto& [low, high, weight] : table) {
    low -= offset;
    high -= offset;
  }
}

void moveBy(std::vector<int64_t>& indices, int64_t offset) {
  for (int64_t& index : indices) index -= offset;
}

void moveBy(Windows& windows, int64_t offset) {
  for (Window& window : windows.windows) window.first -= offset;
}

// Calls use(rows, columns) with the tables of the method.
template <class Use>
auto withTables(const WindowOptions& options, Use use) {
  const auto& [height, width, toHeight, toWidth, window, method] = options;
  const Targets rows{window.y, window.height, toHeight}, columns{window.x, window.width, toWidth};
  switch (method) {
    case ResizeMethod::bilinear:
      return use(bilinearTable(height, rows, /*alignCorners=*/false),
                 bilinearTable(width, columns, /*alignCorners=*/false));
    case ResizeMethod::antialias:
      return use(triangleWindows(height, rows), triangleWindows(width, columns));
    case ResizeMethod::nearest:
      return use(nearestIndices(height, rows), nearestIndices(width, columns));
  }
  throw Error("INTERNAL", "no such resize method");
}

void resample(const uint8_t* image, int64_t width, int64_t channels, const BilinearTable& rows,
              const BilinearTable& columns, uint8_t* out) {
  resizeBilinear(image, width, channels, rows, columns, out);
}
void resample(const uint8_t* image, int64_t width, int64_t channels, const Windows& rows, const Windows& columns,
              uint8_t* out) {
  resizeAntialias(image, width, channels, rows, columns, out);
}
void resample(const uint8_t* image, int64_t width, int64_t channels, const std::vector<int64_t>& rows,
              const std::vector<int64_t>& columns, uint8_t* out) {
  resizeNearest(image, width, channels, rows, columns, out);
}

}  // namespace

void resizeImage(const uint8_t* image, int64_t height, int64_t width, int64_t channels, uint8_t* out, int64_t toHeight,
                 int64_t toWidth, ResizeMethod method) {
  if (height == toHeight && width == toWidth) {
    std::memcpy(out, image, static_cast<size_t>(height * width * channels));
    return;
  }
  const WindowOptions whole{height, width, toHeight, toWidth, {0, 0, toWidth, toHeight}, method};
  withTables(whole,
             [&](const auto& rows, const auto& columns) { resample(image, width, channels, rows, columns, out); });
}

Rectangle neededBy(const WindowOptions& options) {
  return withTables(options, [](const auto& rows, const auto& columns) {
    const Span y = sourceOf(rows), x = sourceOf(columns);
    return Rectangle{x.first, y.first, x.last - x.first, y.last - y.first};
  });
}

void resizeWindow(const uint8_t* part, int64_t channels, const WindowOptions& options, uint8_t* out) {
  withTables(options, [&](auto rows, auto columns) {
    const Span y = sourceOf(rows), x = sourceOf(columns);
    moveBy(rows, y.first);
    moveBy(columns, x.first);
    resample(part, x.last - x.first, channels, rows, columns, out);
  });
}

void resizeMap(const float* map, int64_t height, int64_t width, float* out, int64_t toHeight, int64_t toWidth,
               bool alignCorners) {
  const BilinearTable rows = bilinearTable(height, Targets::all(toHeight), alignCorners);
  const BilinearTable columns = bilinearTable(width, Targets::all(toWidth), alignCorners);
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

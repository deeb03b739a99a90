#include "images/window.h"

#include <algorithm>
#include <array>
#include <vector>

#include "error.h"
#include "images/pixels.h"

namespace ssn {
namespace {

constexpr std::array<uint8_t, 3> kMeanColour{124, 116, 104};  // 255 * (0.485, 0.456, 0.406)
constexpr uint8_t kMeanGrey = 117;

WindowOptions optionsOf(const View& view) {
  return {view.region.height, view.region.width, view.toHeight, view.toWidth, view.window, view.method};
}

void copyRow(const uint8_t* from, int64_t count, int64_t, uint8_t* out) { std::copy_n(from, count, out); }
void copyRow(const uint16_t* from, int64_t count, int64_t bitDepth, uint8_t* out) {
  toBytes(from, static_cast<size_t>(count), static_cast<int>(bitDepth), out);
}

void blank(const uint8_t* ignored, int64_t pixels, int64_t channels, uint8_t* row) {
  for (int64_t x = 0; x < pixels; ++x) {
    if (ignored[x] == 0) continue;
    for (int64_t c = 0; c < channels; ++c) row[x * channels + c] = channels == 1 ? kMeanGrey : kMeanColour[c % 3];
  }
}

template <class T>
void windowOf(const T* samples, const Samples& of, const uint8_t* ignored, const View& view, uint8_t* out) {
  const WindowOptions options = optionsOf(view);
  Rectangle part = neededBy(options);
  part.x += view.region.x;
  part.y += view.region.y;
  if (part.y < of.firstRow || part.y + part.height > of.firstRow + of.rows || part.x + part.width > of.width)
    throw Error("INTERNAL", "a window lies outside the rows at hand");
  const int64_t length = part.width * of.channels;
  std::vector<uint8_t> bytes(part.height * length);
  for (int64_t y = 0; y < part.height; ++y) {
    const int64_t at = (part.y - of.firstRow + y) * of.width + part.x;
    copyRow(samples + at * of.channels, length, of.bitDepth, &bytes[y * length]);
    if (ignored != nullptr) blank(ignored + at, part.width, of.channels, &bytes[y * length]);
  }
  std::vector<uint8_t> resized(view.window.height * view.window.width * of.channels);
  resizeWindow(bytes.data(), of.channels, options, resized.data());
  toRgb(resized.data(), static_cast<size_t>(view.window.height * view.window.width), of.channels, out);
}

}  // namespace

void viewWindow(const uint8_t* samples, const Samples& of, const uint8_t* ignored, const View& view, uint8_t* out) {
  windowOf(samples, of, ignored, view, out);
}
void viewWindow(const uint16_t* samples, const Samples& of, const uint8_t* ignored, const View& view, uint8_t* out) {
  windowOf(samples, of, ignored, view, out);
}

void maskWindow(const uint8_t* mask, int64_t width, const View& view, uint8_t* out) {
  const WindowOptions options = optionsOf(view);
  const Rectangle part = neededBy(options);
  std::vector<uint8_t> bytes(part.height * part.width);
  for (int64_t y = 0; y < part.height; ++y)
    std::copy_n(mask + (view.region.y + part.y + y) * width + view.region.x + part.x, part.width,
                &bytes[y * part.width]);
  resizeWindow(bytes.data(), /*channels=*/1, options, out);
}

}  // namespace ssn

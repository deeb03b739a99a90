// Resizing of images (uint8, H x W x channels) and maps (float32, H x W), and flips. No libtorch.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/side.h"

namespace ssn {

enum class ResizeMethod {
  bilinear,   // half-pixel centres, no anti-aliasing: torch's upsample_bilinear2d(align_corners=False) on 0..255 (the
              // authors)
  antialias,  // triangle filter as wide as the scale: PIL's and torch's antialias=True (anomalib)
  nearest,    // floor(x * scale), as OpenCV's INTER_NEAREST (masks)
};

// Bilinear: the two source samples of one target sample, value = (1 - weight) * source[low] + weight * source[high].
struct BilinearSamples {
  int64_t low, high;
  float weight;
};

// The source samples of target sample i. float32 throughout, like torch, so that rounded values agree with it.
SSN_KERNEL BilinearSamples bilinearSamples(int64_t i, int64_t from, int64_t to, bool alignCorners) {
  const float scale = alignCorners ? (to > 1 ? static_cast<float>(from - 1) / static_cast<float>(to - 1) : 0.0f)
                                   : static_cast<float>(from) / static_cast<float>(to);
  const float at = static_cast<float>(i);
  const float position = alignCorners ? scale * at : std::max(0.0f, scale * (at + 0.5f) - 0.5f);
  const int64_t low = std::min(static_cast<int64_t>(position), from - 1);
  return {low, std::min(low + 1, from - 1), std::clamp(position - static_cast<float>(low), 0.0f, 1.0f)};
}

// Values are rounded half to even, as torch.round does. Every size must be at least 1.
void resizeImage(const uint8_t* image, int64_t height, int64_t width, int64_t channels, uint8_t* out, int64_t toHeight,
                 int64_t toWidth, ResizeMethod method);

struct Rectangle {
  int64_t x, y, width, height;
};

// What of a source a window of its resized form is made of.
struct WindowOptions {
  int64_t height, width;      // of the source
  int64_t toHeight, toWidth;  // of the whole that the window is cut from
  Rectangle window;           // in pixels of that whole; beyond its edges the outermost pixels repeat
  ResizeMethod method;
};

// The pixels of the source that the window needs.
Rectangle neededBy(const WindowOptions& options);

// The window alone, with the values that resizeImage gives it. `part` holds the pixels neededBy(options), and no
// others.
void resizeWindow(const uint8_t* part, int64_t channels, const WindowOptions& options, uint8_t* out);

// Bilinear, as torch's upsample_bilinear2d with the given align_corners.
void resizeMap(const float* map, int64_t height, int64_t width, float* out, int64_t toHeight, int64_t toWidth,
               bool alignCorners);

enum class Flip { none = 0, vertical = 1, horizontal = 2, both = 3 };

// Vertical exchanges top and bottom, horizontal left and right.
template <class T>
void flipImage(const T* image, int64_t height, int64_t width, int64_t channels, Flip flip, T* out) {
  const bool rows = flip == Flip::vertical || flip == Flip::both;
  const bool columns = flip == Flip::horizontal || flip == Flip::both;
  for (int64_t y = 0; y < height; ++y) {
    const T* from = image + (rows ? height - 1 - y : y) * width * channels;
    T* to = out + y * width * channels;
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < channels; ++c) to[x * channels + c] = from[(columns ? width - 1 - x : x) * channels + c];
  }
}

}  // namespace ssn

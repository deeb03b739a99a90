// Resizing of images (uint8, H x W x channels) and maps (float32, H x W), and flips. No libtorch.
#pragma once

#include <cstdint>

namespace ssn {

enum class ResizeMethod {
  bilinear,   // half-pixel centres, no anti-aliasing: torch's upsample_bilinear2d(align_corners=False) on 0..255 (the authors)
  antialias,  // triangle filter as wide as the scale: PIL's and torch's antialias=True (anomalib)
  nearest,    // floor(x * scale), as OpenCV's INTER_NEAREST (masks)
};

// Values are rounded half to even, as torch.round does. Every size must be at least 1.
void resizeImage(const uint8_t* image, int64_t height, int64_t width, int64_t channels, uint8_t* out, int64_t toHeight, int64_t toWidth, ResizeMethod method);

// Bilinear, as torch's upsample_bilinear2d with the given align_corners.
void resizeMap(const float* map, int64_t height, int64_t width, float* out, int64_t toHeight, int64_t toWidth, bool alignCorners);

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

// A window of an image as a view shows it: a part of the image, resized, without the pixels that are ignored.
// No libtorch.
#pragma once

#include <cstdint>

#include "images/resize.h"

namespace ssn {

struct Samples {
  int64_t width;     // of the image
  int64_t firstRow;  // rows of the image that are at hand
  int64_t rows;
  int64_t channels;  // 1, 3 or 4
  int64_t bitDepth;  // of 16-bit samples
};

struct View {
  Rectangle region;           // of the image
  int64_t toHeight, toWidth;  // the region's size where the window is cut out
  Rectangle window;
  ResizeMethod method;
};

// Pixels that are ignored get ImageNet's mean colour before anything is resized, so that nothing shows what they were.
// `ignored`: rows x width, non-zero is ignored; null: none. `out`: window.height x window.width x 3. The rows that the
// window needs must be at hand.
void viewWindow(const uint8_t* samples, const Samples& of, const uint8_t* ignored, const View& view, uint8_t* out);
void viewWindow(const uint16_t* samples, const Samples& of, const uint8_t* ignored, const View& view, uint8_t* out);

// The same of a mask with one byte a pixel, which stays one.
void maskWindow(const uint8_t* mask, int64_t width, const View& view, uint8_t* out);

}  // namespace ssn

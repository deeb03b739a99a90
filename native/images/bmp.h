// The pixels of an uncompressed BMP whose headers lib/images/bmp.ts has checked. No libtorch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssn {

struct BmpLayout {
  int64_t width, height, bits;  // 1, 4 or 8 bits are indices of the palette; 24 and 32 are colours
  bool topDown;
  int64_t offset, stride;    // where the rows begin, and the bytes of each
  int64_t red, green, blue;  // where they lie in the bytes of a pixel
};

// Bytes that the layout reaches; 0 for one that makes no sense.
int64_t bmpEnd(const BmpLayout& layout);

// RGB, row by row from the top; a fourth byte is dropped. Returns the highest index. Where that has no colour in the
// palette, the pixels are not to be used.
int bmpPixels(const uint8_t* file, const BmpLayout& layout, const uint8_t* palette, int64_t colours, uint8_t* out);

}  // namespace ssn

#include "images/bmp.h"

#include <algorithm>

namespace ssn {
namespace {

const uint8_t* rowOf(const uint8_t* file, const BmpLayout& layout, int64_t row) {
  return file + layout.offset + layout.stride * (layout.topDown ? row : layout.height - 1 - row);
}

}  // namespace

int64_t bmpEnd(const BmpLayout& layout) {
  const auto& [width, height, bits, topDown, offset, stride, red, green, blue] = layout;
  constexpr int64_t kMost = int64_t{1} << 31;
  const bool known = bits == 1 || bits == 4 || bits == 8 || bits == 24 || bits == 32;
  const bool sized = width >= 1 && width < kMost && height >= 1 && height < kMost && offset >= 0 && offset < 2 * kMost;
  if (!known || !sized) return 0;
  const int64_t rowBytes = (width * bits + 7) / 8;
  if (stride < rowBytes || stride > (int64_t{1} << 62) / height) return 0;  // the sum below stays within 64 bits
  for (const int64_t place : {red, green, blue})
    if (bits >= 24 && (place < 0 || place >= bits / 8)) return 0;
  return offset + stride * (height - 1) + rowBytes;
}

int bmpPixels(const uint8_t* file, const BmpLayout& layout, const uint8_t* palette, int64_t colours, uint8_t* out) {
  const int64_t bits = layout.bits;
  int highest = 0;
  for (int64_t row = 0; row < layout.height; ++row) {
    const uint8_t* from = rowOf(file, layout, row);
    if (bits >= 24) {
      for (int64_t x = 0; x < layout.width; ++x, from += bits / 8, out += 3) {
        out[0] = from[layout.red];
        out[1] = from[layout.green];
        out[2] = from[layout.blue];
      }
      continue;
    }
    const int64_t perByte = 8 / bits;
    for (int64_t x = 0; x < layout.width; ++x, out += 3) {
      const int index = (from[x / perByte] >> (8 - bits * (x % perByte + 1))) & ((1 << bits) - 1);
      highest = std::max(highest, index);
      if (index < colours) std::copy_n(palette + 3 * index, 3, out);
    }
  }
  return highest;
}

}  // namespace ssn

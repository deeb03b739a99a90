#include "images/pixels.h"

#include <algorithm>
#include <cstring>

#include "platform.h"

namespace ssn {
namespace {

template <class T>
SSN_INLINE size_t mark(const T* samples, size_t pixels, int64_t channels, int least, uint8_t* out) {
  size_t marked = 0;
  for (size_t i = 0; i < pixels; ++i) {
    uint8_t any = 0;
    for (int64_t c = 0; c < channels; ++c) any |= samples[i * channels + c] >= least;
    out[i] = any;
    marked += any;
  }
  return marked;
}

// The number of channels as a constant, so that the loops vectorise.
template <class T>
SSN_INLINE size_t markAny(const T* samples, size_t pixels, int64_t channels, int least, uint8_t* out) {
  if (channels == 1) return mark(samples, pixels, 1, least, out);
  if (channels == 3) return mark(samples, pixels, 3, least, out);
  return mark(samples, pixels, channels, least, out);
}

SSN_VECTORISED size_t mark8(const uint8_t* samples, size_t pixels, int64_t channels, int least, uint8_t* out) {
  return markAny(samples, pixels, channels, least, out);
}
SSN_VECTORISED size_t mark16(const uint16_t* samples, size_t pixels, int64_t channels, int least, uint8_t* out) {
  return markAny(samples, pixels, channels, least, out);
}

SSN_VECTORISED int bytesOf(const uint16_t* samples, size_t count, int shift, uint8_t* out) {
  uint16_t highest = 0;
  for (size_t i = 0; i < count; ++i) {
    highest = std::max(highest, samples[i]);
    out[i] = static_cast<uint8_t>(std::min(samples[i] >> shift, 255));
  }
  return highest;
}

SSN_VECTORISED int highestOf(const uint8_t* samples, size_t count) {
  uint8_t highest = 0;
  for (size_t i = 0; i < count; ++i) highest = std::max(highest, samples[i]);
  return highest;
}

}  // namespace

void toRgb(const uint8_t* image, size_t pixels, int64_t channels, uint8_t* out) {
  if (channels == 3) {
    std::memcpy(out, image, pixels * 3);
    return;
  }
  const int64_t next = channels == 1 ? 0 : 1;
  for (size_t i = 0; i < pixels; ++i, image += channels, out += 3) {
    out[0] = image[0];
    out[1] = image[next];
    out[2] = image[2 * next];
  }
}

int toBytes(const uint16_t* samples, size_t count, int bits, uint8_t* out) {
  return bytesOf(samples, count, bits - 8, out);
}

PixelFacts factsOf(const uint8_t* image, size_t pixels, int64_t channels) {
  const auto sameAsNext = [&] {
    if (channels != 4) return std::memcmp(image, image + channels, (pixels - 1) * channels) == 0;
    for (size_t i = 1; i < pixels; ++i)
      if (std::memcmp(image + 4 * i, image, 3) != 0) return false;
    return true;
  };
  return {sameAsNext(), highestOf(image, pixels * channels)};
}

void cmykToRgb(const uint8_t* cmyk, size_t pixels, uint8_t* out) {
  for (size_t i = 0; i < pixels; ++i, cmyk += 4, out += 3) {
    const int white = 255 - cmyk[3];
    for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>(((255 - cmyk[c]) * white * 2 + 255) / 510);
  }
}

size_t markDefects(const uint8_t* samples, size_t pixels, int64_t channels, int least, uint8_t* out) {
  return mark8(samples, pixels, channels, least, out);
}
size_t markDefects(const uint16_t* samples, size_t pixels, int64_t channels, int least, uint8_t* out) {
  return mark16(samples, pixels, channels, least, out);
}

void countBrightness(const uint8_t* rgb, size_t pixels, uint32_t* counts) {
  for (size_t i = 0; i < pixels; ++i, rgb += 3) ++counts[std::max({rgb[0], rgb[1], rgb[2]})];
}

size_t mergeMasks(uint8_t* into, const uint8_t* other, size_t pixels) {
  size_t marked = 0;
  for (size_t i = 0; i < pixels; ++i) marked += into[i] |= other[i];
  return marked;
}

}  // namespace ssn

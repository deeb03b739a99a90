// From decoded samples to what the network and the labels need: passes over all pixels. No libtorch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssn {

// What an image's samples are before they are resized.
struct PixelFacts {
  bool uniform;  // every pixel has the same 8-bit value, alpha aside
  int highest;   // sample, of any channel
};

// Grey (1 channel) becomes RGB, alpha (a fourth) is dropped. `out`: pixels x 3.
void toRgb(const uint8_t* image, size_t pixels, int64_t channels, uint8_t* out);

// The highest 8 bits of samples with `bits` bits, 255 for what lies above. Returns the highest sample.
int toBytes(const uint16_t* samples, size_t count, int bits, uint8_t* out);

PixelFacts factsOf(const uint8_t* image, size_t pixels, int64_t channels);

// 8-bit CMYK, 0 = no ink, as OpenCV and Pillow convert it without a profile: R = (255 - C) (255 - K) / 255, rounded.
void cmykToRgb(const uint8_t* cmyk, size_t pixels, uint8_t* out);

// out[i] is 1 where any channel of pixel i is at least `least`, else 0; returns how many are 1.
size_t markDefects(const uint8_t* samples, size_t pixels, int64_t channels, int least, uint8_t* out);
size_t markDefects(const uint16_t* samples, size_t pixels, int64_t channels, int least, uint8_t* out);

// Adds 1 to counts[brightest channel] for every pixel of RGB.
void countBrightness(const uint8_t* rgb, size_t pixels, uint32_t* counts);

// `into` becomes 1 where either is; returns how many are.
size_t mergeMasks(uint8_t* into, const uint8_t* other, size_t pixels);

}  // namespace ssn

// From decoded samples to what the network and the labels need: one pass over the pixels each. No libtorch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ssn {

// Grey (1 channel) becomes RGB, alpha (a fourth) is dropped. `out`: pixels x 3.
void toRgb(const uint8_t* image, size_t pixels, int64_t channels, uint8_t* out);

// out[i] is 1 where any channel of pixel i is at least `least`, else 0; returns how many are 1.
size_t markDefects(const uint8_t* samples, size_t pixels, int64_t channels, int least, uint8_t* out);
size_t markDefects(const uint16_t* samples, size_t pixels, int64_t channels, int least, uint8_t* out);

}  // namespace ssn

// Gaussian noise in feature space (spec section 3.2; paper section 3.3): N(0, std_c^2), independent per element.
#pragma once

#include <cstdint>

namespace ssn {

// out[i * channels + c] = std[c] * z(seed, step, copy, positions[i], c), z unit normal. `copy` is the index in the
// duplicated batch (0 .. 2b-1), a position is y * featureWidth + x; `std` has `channels` values, null stands for ones.
// Values do not depend on which other positions are asked for, so noise is made only where a mask needs it.
void latentNoise(uint64_t seed, int64_t step, int64_t copy, const int32_t* positions, int64_t count, int64_t channels, const float* std, float* out);

}  // namespace ssn

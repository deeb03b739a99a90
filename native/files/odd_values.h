// Values that no weight may have.
#pragma once

#include <cstddef>

namespace ssn {

struct OddValues {
  size_t notFinite, negative;
};

// One pass, at the speed of memory. Negative infinity and NaN are not finite, and not negative.
OddValues oddValues(const float* values, size_t count);

}  // namespace ssn

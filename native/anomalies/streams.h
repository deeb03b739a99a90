// Which random streams (native/anomalies/philox.h) the samples of a training step draw from.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

#include "anomalies/philox.h"

namespace ssn {

// Sample s of a duplicated batch of 2 `images` draws from stream first + s, in the second copy from second + s -
// images: the streams go by the place in the whole batch, however it is shared among processes.
struct StepStreams {
  uint64_t seed;
  int64_t step;
  int64_t images, first, second;
  // `step` as one int64 in the device's memory, where runsOnHost(device) is false. Kernels read it there, because a
  // graph is replayed for other steps.
  at::Tensor stepOnDevice;

  int64_t of(int64_t sample) const { return sample < images ? first + sample : second + sample - images; }

  // Throws if the generator has no such streams.
  void check() const {
    RandomStream(seed, step, Purpose::latentNoise, std::max(first, second) + std::max<int64_t>(0, images - 1));
  }
};

}  // namespace ssn

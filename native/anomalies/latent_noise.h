// Gaussian noise in feature space (docs/method.md, Synthetic anomalies; paper section 3.3): N(0, std_c^2).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "anomalies/streams.h"

namespace ssn {

// The noise at P cells.
struct Noise {
  at::Tensor vectors;  // V x C
  // P each: cell i has weight[i] vectors[index[i]] (int32, float). Undefined: cell i has vectors[i].
  at::Tensor index, weight;

  bool shared() const { return index.defined(); }
  at::Tensor expanded() const;  // P x C
};

// Independent for each of P cells (int64: sample * plane + position, a position is y * featureWidth + x): values are a
// function of (seed, step, stream, position, channel), 0 where a cell is negative (never on the CPU). They do not
// depend on which other cells are asked for, so noise is made only where a mask needs it; nor on the device: a GPU
// draws the same bits. std: C, undefined stands for ones. out: P x C.
void latentNoise(const StepStreams& streams, int64_t plane, const at::Tensor& cells, const at::Tensor& std,
                 at::Tensor out);

// The step's own `vectors` noise vectors, of which each cell takes one at random, times 1 or -1: as above for each cell
// by itself, but cells that take the same vector are not independent. The vectors are a function of (seed, step), so
// that all ranks have the same. Its matrix products do not depend on the number of cells. out: vectors x C.
Noise sharedNoise(const StepStreams& streams, int64_t plane, const at::Tensor& cells, const at::Tensor& std,
                  at::Tensor out);

}  // namespace ssn

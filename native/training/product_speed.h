// How fast this machine multiplies matrices in bfloat16, beside float32: what a training step mostly does.
#pragma once

namespace ssn {

struct ProductSpeed {
  double float32Ms, bfloat16Ms;
};

// Times products of a training step's shapes on the CPU with the threads that are set: the fastest of several, float32
// and bfloat16 in turn. bfloat16 is timed as a step computes it, from float32 operands to a float32 result. Where
// bfloat16 is no faster in small products, these are all.
ProductSpeed measureProducts();

}  // namespace ssn

// Kernels are structs whose operator() computes one piece of the result and is compiled for both sides: a GPU runs them
// through the launchers of native/cuda/launch.cuh, the CPU through the plain loops below, which is how the tests check
// their arithmetic and indices without a GPU. Nothing is added atomically and every sum has a fixed order, so a result
// depends neither on the number of threads nor on how a launch is cut.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#ifdef SSN_CUDA
#include "cuda/launch.h"
#endif

namespace ssn {

// body(T{}) with T the C++ type of `type`, for the element types that kernels are compiled for.
template <class Body>
void withElement(at::ScalarType type, Body&& body) {
  if (type == at::kFloat) return body(float{});
  if (type == at::kHalf) return body(c10::Half{});
  TORCH_INTERNAL_ASSERT(type == at::kBFloat16, "no kernels for this element type");
  body(c10::BFloat16{});
}

// body(i) for i in [0, count), each piece independent of the others.
template <class Body>
void forEach(at::Device device, int64_t count, const Body& body) {
  if (count == 0) return;
#ifdef SSN_CUDA
  if (device.is_cuda()) return cuda::forEach(device, count, body);
#endif
  at::parallel_for(0, count, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

// For each row: Body::kLanes partial results body.partial(row, lane), halved by Body::combine until one is left, which
// body.store(row, result) takes.
template <class Body>
void reduceRows(at::Device device, int64_t rows, const Body& body) {
  if (rows == 0) return;
#ifdef SSN_CUDA
  if (device.is_cuda()) return cuda::reduceRows(device, rows, body);
#endif
  at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      typename Body::Partial partial[Body::kLanes];
      for (int lane = 0; lane < Body::kLanes; ++lane) partial[lane] = body.partial(row, lane);
      for (int half = Body::kLanes / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) partial[lane] = Body::combine(partial[lane], partial[lane + half]);
      body.store(row, partial[0]);
    }
  });
}

}  // namespace ssn

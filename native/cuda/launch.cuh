// The launchers of native/cuda/launch.h, for the .cu files that instantiate them.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "cuda/launch.h"

namespace ssn::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 20;  // more pieces than that many blocks have are strided over

template <class Body>
__global__ void __launch_bounds__(kThreads) runForEach(int64_t count, Body body) {
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * kThreads)
    body(i);
}

// One block per row, one thread per lane.
template <class Body>
__global__ void __launch_bounds__(Body::kLanes) runReduceRows(int64_t rows, Body body) {
  __shared__ typename Body::Partial partial[Body::kLanes];
  const int lane = threadIdx.x;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    partial[lane] = body.partial(row, lane);
    for (int half = Body::kLanes / 2; half > 0; half /= 2) {
      __syncthreads();
      if (lane < half) partial[lane] = Body::combine(partial[lane], partial[lane + half]);
    }
    // Lane 0 wrote partial[0] itself, in the last round; nobody else writes it before the barrier below.
    if (lane == 0) body.store(row, partial[0]);
    __syncthreads();
  }
}

inline unsigned blocksFor(int64_t count, int64_t perBlock) {
  const int64_t blocks = (count + perBlock - 1) / perBlock;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

inline void check(const char* what) {
  if (const cudaError_t status = cudaGetLastError(); status != cudaSuccess)
    throw std::runtime_error(std::string("CUDA refused to start ") + what + ": " + cudaGetErrorString(status));
}

}  // namespace

template <class Body>
void launchForEach(void* stream, int64_t count, const Body& body) {
  runForEach<<<blocksFor(count, kThreads), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(count, body);
  check("a kernel");
}

template <class Body>
void launchReduceRows(void* stream, int64_t rows, const Body& body) {
  static_assert((Body::kLanes & (Body::kLanes - 1)) == 0 && Body::kLanes <= 1024, "lanes are halved");
  runReduceRows<<<blocksFor(rows, 1), Body::kLanes, 0, static_cast<cudaStream_t>(stream)>>>(rows, body);
  check("a reduction");
}

}  // namespace ssn::cuda

// In a .cu file, at namespace level, for every kernel.
#define SSN_FOR_EACH(...) template void ssn::cuda::launchForEach<__VA_ARGS__>(void*, int64_t, const __VA_ARGS__&)
#define SSN_REDUCE_ROWS(...) template void ssn::cuda::launchReduceRows<__VA_ARGS__>(void*, int64_t, const __VA_ARGS__&)

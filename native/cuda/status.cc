#include "cuda/status.h"

#ifdef SSN_CUDA
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>
#endif

namespace ssn {

#ifdef SSN_CUDA

namespace {

// cuBLAS and cuDNN are separate libraries: a mismatch shows only when they are used.
std::string failureOn(int index) {
  try {
    at::NoGradGuard guard;
    const auto options = at::TensorOptions().device(at::kCUDA, static_cast<c10::DeviceIndex>(index)).dtype(at::kFloat);
    const double product = at::mm(at::ones({8, 8}, options), at::ones({8, 8}, options)).sum().item<double>();
    const double convolution =
        at::conv2d(at::ones({1, 4, 8, 8}, options), at::ones({2, 4, 3, 3}, options)).sum().item<double>();
    if (product != 8 * 8 * 8 || convolution != 2 * 6 * 6 * 4 * 9) return "it computes wrong numbers";
    return "";
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

std::optional<CudaStatus> cudaStatus() {
  CudaStatus out{0, 0, "", {}};
  cudaDriverGetVersion(&out.driver);
  cudaRuntimeGetVersion(&out.runtime);
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    out.error = cudaGetErrorString(status);
    cudaGetLastError();  // libtorch would find it at its next call
    return out;
  }
  if (count == 0) out.error = "no CUDA-capable device is detected";
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (const cudaError_t status = cudaGetDeviceProperties(&properties, i); status != cudaSuccess) {
      out.devices.push_back({"unknown", 0, 0, 0, cudaGetErrorString(status)});
      continue;
    }
    out.devices.push_back({properties.name, properties.major, properties.minor,
                           static_cast<int64_t>(properties.totalGlobalMem), failureOn(i)});
  }
  return out;
}

std::optional<CudaMemory> cudaMemory(int index, bool resetPeak) {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(index));
  if (resetPeak) c10::cuda::CUDACachingAllocator::resetPeakStats(static_cast<c10::DeviceIndex>(index));
  const auto& reserved = stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
  return CudaMemory{reserved.current, reserved.peak};
}

#else

std::optional<CudaStatus> cudaStatus() { return std::nullopt; }
std::optional<CudaMemory> cudaMemory(int, bool) { return std::nullopt; }

#endif

}  // namespace ssn

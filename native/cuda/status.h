// What the CUDA engine finds on this machine. The CPU engine has none of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ssn {

struct CudaStatus {
  struct Device {
    std::string name;
    int major, minor;   // compute capability
    int64_t bytes;      // memory
    std::string error;  // why a matrix product or a convolution failed; empty: both gave the right numbers
  };
  int driver, runtime;  // 13000 is CUDA 13.0; driver 0: none
  std::string error;    // why there is no device; empty if there are some
  std::vector<Device> devices;
};

// Computes something on every device, so it makes a CUDA context on each: for a process that only looks.
// nullopt in the CPU engine.
std::optional<CudaStatus> cudaStatus();

// What libtorch's allocator has taken of a device's memory, now and at most since the beginning or the last reset.
// nullopt in the CPU engine.
struct CudaMemory {
  int64_t reserved, peakReserved;
};
std::optional<CudaMemory> cudaMemory(int index, bool resetPeak);

}  // namespace ssn

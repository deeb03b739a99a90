// Two implementations of the same functions: loops over memory for tensors on the CPU, and libtorch operations for
// tensors anywhere else.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>

namespace ssn {

// Set by tests, which run the operations meant for other devices on the CPU. Read once per call, never changed during
// one.
inline std::atomic<bool> portableOnly{false};

inline bool runsOnHost(at::Device device) { return device.is_cpu() && !portableOnly; }
inline bool runsOnHost(const at::Tensor& tensor) { return runsOnHost(tensor.device()); }

}  // namespace ssn

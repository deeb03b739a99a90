// Two implementations of the same functions: loops over memory for tensors on the CPU, and libtorch operations for
// tensors anywhere else.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>

namespace ssn {

// Tests set it to run the operations for other devices on the CPU. Read once per call; it never changes during one.
inline std::atomic<bool> portableOnly{false};

inline bool runsOnHost(at::Device device) { return device.is_cpu() && !portableOnly; }
inline bool runsOnHost(const at::Tensor& tensor) { return runsOnHost(tensor.device()); }

}  // namespace ssn

// Two implementations of the same functions: loops over memory for tensors on the CPU, and libtorch operations for
// tensors anywhere else.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>

namespace ssn {

// Set by tests, which run the operations meant for other devices on the CPU. Read once per call, never changed during
// one.
inline std::atomic<bool> portableOnly{false};

inline bool hostPath(at::Device device) { return device.is_cpu() && !portableOnly; }
inline bool hostPath(const at::Tensor& tensor) { return hostPath(tensor.device()); }

}  // namespace ssn

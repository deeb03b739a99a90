// Copies a few numbers from a device to the CPU without waiting for the device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>

#include "runs_on_host.h"

namespace ssn {

class Readback {
 public:
  explicit Readback(const at::Tensor& values)
      : host_(at::empty(values.sizes(), values.options().device(at::kCPU).pinned_memory(values.is_cuda()))) {
    host_.copy_(values, /*non_blocking=*/true);
    const at::Device device = values.device();
    if (device.is_cpu()) return;
    arrived_.emplace(device.type());
    arrived_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  }

  // False in tests where the CPU stands for another device.
  bool arrived() const { return arrived_ ? arrived_->query() : runsOnHost(host_); }

  // Waits for the numbers; on the CPU.
  const at::Tensor& wait() {
    if (arrived_) arrived_->synchronize();
    return host_;
  }

 private:
  at::Tensor host_;
  std::optional<c10::Event> arrived_;
};

}  // namespace ssn

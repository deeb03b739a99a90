// A few numbers on their way from a device to the CPU, without waiting for it.
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

  // In tests, where the CPU stands for another device, never before it is waited for.
  bool arrived() const { return arrived_ ? arrived_->query() : runsOnHost(host_); }

  // On the CPU. Waits until they are there.
  const at::Tensor& wait() {
    if (arrived_) arrived_->synchronize();
    return host_;
  }

 private:
  at::Tensor host_;
  std::optional<c10::Event> arrived_;
};

}  // namespace ssn

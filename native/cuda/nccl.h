// Sums of large tensors over ranks that have a GPU each, by libtorch's c10d::ProcessGroupNCCL. CUDA engine only.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include <memory>

#include "distributed/group.h"

namespace ssn::cuda {

class NcclSum {
 public:
  // Collective. Null on every rank if two of them share a GPU, which NCCL does not do.
  static std::unique_ptr<NcclSum> create(Group& group, at::Device device);
  ~NcclSum();
  NcclSum(const NcclSum&) = delete;
  NcclSum& operator=(const NcclSum&) = delete;

  // values (float32, contiguous, on the device) += those of the other ranks. Collective. Waits until it is done; throws
  // Error("RANK_FAILED") when another rank has failed meanwhile, and Error("ABORTED") when cancelled. The same bits on
  // every rank.
  void operator()(at::Tensor& values);

 private:
  NcclSum(Group& group, c10::intrusive_ptr<c10d::Backend> gpus) : group_(group), gpus_(std::move(gpus)) {}

  Group& group_;
  c10::intrusive_ptr<c10d::Backend> gpus_;
};

}  // namespace ssn::cuda

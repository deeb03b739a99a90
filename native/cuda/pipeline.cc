#ifdef SSN_CUDA

#include "cuda/pipeline.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cstring>

namespace ssn::cuda {

Pipeline::Pipeline(at::Device device, int64_t graphs, Work work)
    : device_(device), stream_(device), work_(std::move(work)), memory_(stream_.device()), batches_(graphs) {}

std::pair<at::Tensor, at::Tensor> Pipeline::operator()(const at::Tensor& input) {
  const Stream::Use use(stream_);
  std::pair<at::Tensor, at::Tensor> results;
  if (batches_.limit() == 0) {
    results = work_(input.to(device_, /*non_blocking=*/true));
  } else {
    Batch& batch = batches_[input.size(0)];
    if (!batch.input.defined()) batch.input = at::empty_like(input, input.options().device(device_));
    batch.input.copy_(input, /*non_blocking=*/true);
    batch.graph.run(stream_, memory_, [&] { batch.results = work_(batch.input); });
    results = batch.results;
  }
  // Through page-locked memory that stays here: what the caller gets it may keep, and page-locking takes long.
  const auto staged = [](at::Tensor& place, const at::Tensor& result) {
    if (!place.defined() || place.numel() < result.numel())
      place = at::empty({result.numel()}, result.options().device(at::kCPU).pinned_memory(true));
    return place.slice(0, 0, result.numel()).view(result.sizes()).copy_(result, /*non_blocking=*/true);
  };
  const at::Tensor first = staged(staging_.first, results.first), second = staged(staging_.second, results.second);
  stream_.synchronize();
  const auto owned = [](const at::Tensor& from) {
    at::Tensor to = at::empty(from.sizes(), from.options().pinned_memory(false));
    std::memcpy(to.data_ptr(), from.data_ptr(), from.nbytes());  // copy_ would wake a second thread for it
    return to;
  };
  return {owned(first), owned(second)};
}

}  // namespace ssn::cuda

#endif

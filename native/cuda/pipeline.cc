#ifdef SSN_CUDA

#include "cuda/pipeline.h"

#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace ssn::cuda {

struct Pipeline::Stream {
  c10::cuda::CUDAStream value;
};

// The graph reads `input` and writes `results`, always at the same addresses. Without a graph: seen once.
struct Pipeline::Captured {
  int64_t batch;
  at::Tensor input;
  std::pair<at::Tensor, at::Tensor> results;
  std::unique_ptr<at::cuda::CUDAGraph> graph;
};

Pipeline::Pipeline(at::Device device, int64_t graphs, Work work)
    : stream_(new Stream{c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.has_index() ? device.index() : c10::cuda::current_device())}), graphs_(graphs), work_(std::move(work)) {
  const c10::cuda::CUDAStreamGuard guard(stream_->value);
  c10::cuda::device_synchronize();
}

Pipeline::~Pipeline() = default;

// Null for a batch size that comes the first time: its run warms the libraries up, which must not happen during capture.
Pipeline::Captured* Pipeline::captured(int64_t batch) {
  if (graphs_ == 0) return nullptr;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->batch != batch) continue;
    entries_.splice(entries_.begin(), entries_, entry);
    return &entries_.front();
  }
  entries_.push_front({batch, {}, {}, nullptr});
  if (static_cast<int64_t>(entries_.size()) > graphs_) entries_.pop_back();
  return nullptr;
}

void Pipeline::capture(Captured& entry) {
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
  // Other threads of this process may use the GPU meanwhile.
  graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
  try {
    entry.results = work_(entry.input);
  } catch (...) {
    try {
      graph->capture_end();
    } catch (...) {  // the first exception says what went wrong
    }
    throw;
  }
  graph->capture_end();
  entry.graph = std::move(graph);
}

std::pair<at::Tensor, at::Tensor> Pipeline::operator()(const at::Tensor& input) {
  const c10::cuda::CUDAStreamGuard guard(stream_->value);
  Captured* entry = captured(input.size(0));
  std::pair<at::Tensor, at::Tensor> results;
  if (entry == nullptr) {
    results = work_(input.to(stream_->value.device(), /*non_blocking=*/true));
  } else {
    if (!entry->input.defined()) entry->input = at::empty_like(input, input.options().device(stream_->value.device()));
    entry->input.copy_(input, /*non_blocking=*/true);
    if (!entry->graph) capture(*entry);
    entry->graph->replay();
    results = entry->results;
  }
  // Through page-locked memory that stays here: what the caller gets it may keep, and page-locking takes long.
  const auto staged = [](at::Tensor& place, const at::Tensor& result) {
    if (!place.defined() || place.numel() < result.numel()) place = at::empty({result.numel()}, result.options().device(at::kCPU).pinned_memory(true));
    return place.slice(0, 0, result.numel()).view(result.sizes()).copy_(result, /*non_blocking=*/true);
  };
  const at::Tensor first = staged(staging_.first, results.first), second = staged(staging_.second, results.second);
  stream_->value.synchronize();
  const auto owned = [](const at::Tensor& from) { return at::empty(from.sizes(), from.options().pinned_memory(false)).copy_(from); };
  return {owned(first), owned(second)};
}

}  // namespace ssn::cuda

#endif

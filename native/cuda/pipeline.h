// Inference on a GPU without gaps: a stream of its own, page-locked memory at both ends so that copies need no detour, and
// a CUDA graph for each batch size that comes again, which starts all kernels at once. CUDA engine only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <utility>

namespace ssn::cuda {

class Pipeline {
 public:
  // From images on the device to results on the device: always the same operations for one shape, without waiting for any.
  using Work = std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor&)>;

  // `graphs`: for how many batch sizes a graph is kept, each with its memory; 0: none. Waits for what the device is doing, so
  // whatever `work` reads must have been started before.
  Pipeline(at::Device device, int64_t graphs, Work work);
  ~Pipeline();

  // input: on the CPU, page-locked for speed. Returns the results on the CPU. One thread at a time.
  std::pair<at::Tensor, at::Tensor> operator()(const at::Tensor& input);

 private:
  struct Stream;
  struct Captured;
  Captured* captured(int64_t batch);
  void capture(Captured& entry);

  std::unique_ptr<Stream> stream_;
  int64_t graphs_;
  Work work_;
  std::pair<at::Tensor, at::Tensor> staging_;
  std::list<Captured> entries_;  // most recently used first
};

}  // namespace ssn::cuda

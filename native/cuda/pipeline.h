// Inference on a GPU without gaps: a private stream, page-locked memory at both ends for direct copies, and a CUDA
// graph for each batch size that comes again. CUDA engine only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <utility>

#include "cuda/graph.h"
#include "lru_cache.h"

namespace ssn::cuda {

class Pipeline {
 public:
  // From images on the device to results on the device. Must run the same operations for one shape, and never wait.
  using Work = std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor&)>;

  // `graphs`: for how many batch sizes a graph is kept, each with its input; 0: none.
  Pipeline(at::Device device, int64_t graphs, Work work);

  // input: on the CPU, page-locked for speed. Returns the results on the CPU. One thread at a time.
  std::pair<at::Tensor, at::Tensor> operator()(const at::Tensor& input);

 private:
  // The graph reads `input` and writes `results`, always at the same addresses.
  struct Batch {
    at::Tensor input;
    std::pair<at::Tensor, at::Tensor> results;
    Graph graph;
  };

  at::Device device_;
  Stream stream_;
  Work work_;
  GraphMemory memory_;  // one for all: results are copied out before the next batch
  std::pair<at::Tensor, at::Tensor> staging_;
  LruCache<int64_t, Batch> batches_;  // by number of images
};

}  // namespace ssn::cuda

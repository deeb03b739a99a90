// A private stream, and work on it that a CUDA graph repeats: one launch starts all kernels. CUDA engine only.
//
// cuBLAS keeps a workspace for each stream, made when it is first used there, and graphs write to it. libtorch frees it
// when a graph of that stream ends (2.14), though others go on. So a stream belongs to one object at a time, which uses
// cuBLAS on it in Graph::run alone: the workspace then lies in the graphs' own memory, in which nothing is made that is
// to last from one run to the next.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace ssn::cuda {

// Reuses a stream that was given back, because libtorch keeps memory for every stream that was ever used.
class Stream {
 public:
  // Of `device`, or the current one. Waits for what the device is doing, so whatever was started before may be read on
  // the stream.
  explicit Stream(at::Device device);
  ~Stream();  // waits for the stream
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  at::Device device() const;
  void synchronize() const;

  // Makes the stream, and its device, the calling thread's current one for as long as it lives.
  class Use {
   public:
    explicit Use(const Stream& stream);
    ~Use();

   private:
    struct Guard;
    std::unique_ptr<Guard> guard_;
  };

 private:
  friend class Graph;
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

// Memory of graphs that are never replayed at the same time. Outlives them.
class GraphMemory {
 public:
  explicit GraphMemory(at::Device device);
  ~GraphMemory();
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;

 private:
  friend class Graph;
  at::Device device_;
  std::pair<uint64_t, uint64_t> pool_;
};

class Graph {
 public:
  Graph();
  ~Graph();

  // Does `work` on `stream`, which is the current one. The first call runs it as it is, which warms the libraries up;
  // the second records it and starts the recording, as do all others. So `work` has to do the same each time, on data
  // at the same addresses, and must wait for nothing. What it leaves in tensors that it makes lies in `memory`, as all
  // that it needs meanwhile, and is overwritten.
  void run(const Stream& stream, GraphMemory& memory, const std::function<void()>& work);

 private:
  struct Recording;
  bool warm_ = false;
  std::unique_ptr<Recording> recording_;
};

}  // namespace ssn::cuda

#ifdef SSN_CUDA

#include "cuda/graph.h"

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <mutex>
#include <vector>

namespace ssn::cuda {

namespace allocator = c10::cuda::CUDACachingAllocator;

struct Stream::Handle {
  c10::cuda::CUDAStream value;
};

struct Stream::Use::Guard {
  c10::cuda::CUDAStreamGuard value;
};

namespace {

// While one thread of the process records, others must not wait for the whole device or give memory back to it.
std::mutex recording;

// Streams that nobody uses now, by device. Not from libtorch's pool: it has 32 and hands them out again.
std::mutex idleMutex;
std::map<c10::DeviceIndex, std::vector<c10::cuda::CUDAStream>> idle;

c10::cuda::CUDAStream takeStream(at::Device device) {
  const c10::DeviceIndex index = device.has_index() ? device.index() : c10::cuda::current_device();
  const std::lock_guard lock(idleMutex);
  std::vector<c10::cuda::CUDAStream>& streams = idle[index];
  if (!streams.empty()) {
    const c10::cuda::CUDAStream stream = streams.back();
    streams.pop_back();
    return stream;
  }
  const c10::cuda::CUDAGuard guard(index);
  cudaStream_t stream;
  C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return c10::cuda::getStreamFromExternal(stream, index);
}

}  // namespace

Stream::Stream(at::Device device) : handle_(new Handle{takeStream(device)}) {
  const Use use(*this);
  const std::lock_guard lock(recording);
  c10::cuda::device_synchronize();
}

Stream::~Stream() {
  try {
    synchronize();
  } catch (...) {  // a failure on the stream was reported where it was waited for
  }
  const std::lock_guard lock(idleMutex);
  idle[handle_->value.device_index()].push_back(handle_->value);
}

at::Device Stream::device() const { return handle_->value.device(); }

void Stream::synchronize() const { handle_->value.synchronize(); }

Stream::Use::Use(const Stream& stream) : guard_(new Guard{c10::cuda::CUDAStreamGuard(stream.handle_->value)}) {}
Stream::Use::~Use() = default;

// A pool begins to exist with the first allocations for it, and ends when it is released as often as they were begun.
// libtorch gives each graph a pool of page-locked memory of the same name, too, and refuses to record into one that has
// ended: so both last as long as this does, also while there is no graph.
GraphMemory::GraphMemory(at::Device device) : device_(device), pool_(at::cuda::graph_pool_handle()) {
  const std::lock_guard lock(recording);
  allocator::emptyCache();  // what was needed until now: the pool cannot use it, and while it is being filled libtorch
                            // frees nothing
  allocator::beginAllocateToPool(device_.index(), pool_, [](cudaStream_t) { return false; });
  allocator::endAllocateToPool(device_.index(), pool_);
  at::HostAllocator& host = *at::getHostAllocator(at::kCUDA);
  host.begin_allocate_to_pool(pool_, [](c10::Stream) { return false; });
  host.end_allocate_to_pool(pool_);
}

GraphMemory::~GraphMemory() {
  const std::lock_guard lock(recording);
  try {
    allocator::releasePool(device_.index(), pool_);
    allocator::emptyCache();  // else the pool's memory would stay reserved
    at::getHostAllocator(at::kCUDA)->release_pool(pool_);
  } catch (...) {  // nothing can be done about it here
  }
}

struct Graph::Recording {
  const Stream& stream;
  at::cuda::CUDAGraph value;

  explicit Recording(const Stream& on) : stream(on) {}
  ~Recording() {
    try {
      stream.synchronize();  // it may still be running
    } catch (...) {          // reported where the results are waited for
    }
  }
};

Graph::Graph() = default;
Graph::~Graph() = default;

void Graph::run(const Stream& stream, GraphMemory& memory, const std::function<void()>& work) {
  if (recording_) return recording_->value.replay();
  const std::lock_guard lock(recording);
  const c10::DeviceIndex device = memory.device_.index();
  if (!warm_) {
    // In the memory that the recording will have: in other memory the two would need twice as much.
    allocator::beginAllocateToPool(
        device, memory.pool_, [own = stream.handle_->value.stream()](cudaStream_t asking) { return asking == own; });
    const auto end = [&] {
      allocator::endAllocateToPool(device, memory.pool_);
      allocator::releasePool(device, memory.pool_);
    };
    try {
      work();
    } catch (...) {
      end();
      throw;
    }
    end();
    warm_ = true;
    return;
  }
  auto made = std::make_unique<Recording>(stream);
  // Other threads of this process may use the GPU meanwhile, and the thread that computes gradients is one of them:
  // nothing that it keeps from one step to the next (a leaf, an accumulated gradient) may be used in `work`.
  const auto end = [&] {
    try {
      made->value.capture_end();
    } catch (...) {
      // Not all libtorch 2.11 to 2.14 do that then, and go on asking a graph that is gone where to allocate.
      try {
        allocator::endAllocateToPool(device, memory.pool_);
      } catch (...) {  // it had done so
      }
      try {
        at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(memory.pool_);
      } catch (...) {  // likewise
      }
      throw;
    }
  };
  try {
    made->value.capture_begin(memory.pool_, cudaStreamCaptureModeThreadLocal);
    work();
  } catch (...) {
    try {
      end();
    } catch (...) {  // the first one counts
    }
    throw;
  }
  end();
  recording_ = std::move(made);
  recording_->value.replay();
}

}  // namespace ssn::cuda

#endif

#ifdef SSN_CUDA

#include "cuda/nccl.h"

#include <ATen/ops/ones.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "cancel.h"
#include "error.h"

namespace ssn::cuda {

namespace {

struct UniqueId {
  char bytes[128];
};

// The few functions of NCCL's C interface that are used, of the library that libtorch has opened. Its header is in
// neither libtorch nor the toolkit; libtorch's own (torch/csrc/cuda/nccl.h) needs the toolkit's and has no abort,
// without which a rank could not stop waiting for one that has ended.
struct Nccl {
  template <class F>
  static F* find(const char* name) {
    return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
  }
  int (*getUniqueId)(UniqueId*) = find<int(UniqueId*)>("ncclGetUniqueId");
  int (*initRank)(void**, int, UniqueId, int) = find<int(void**, int, UniqueId, int)>("ncclCommInitRank");
  int (*allReduce)(const void*, void*, size_t, int, int, void*, cudaStream_t) =
      find<int(const void*, void*, size_t, int, int, void*, cudaStream_t)>("ncclAllReduce");
  int (*abort)(void*) = find<int(void*)>("ncclCommAbort");
  const char* (*errorString)(int) = find<const char*(int)>("ncclGetErrorString");

  bool complete() const {
    return getUniqueId != nullptr && initRank != nullptr && allReduce != nullptr && abort != nullptr &&
           errorString != nullptr;
  }
  void check(int result, const char* what) const {
    if (result != 0)
      throw Error("RANK_FAILED",
                  std::string("NCCL: ") + what + ": " + errorString(result) +
                      ". Without it (distributed.nccl false, --nccl false) the ranks sum over their own connections");
  }
};
constexpr int kFloat32 = 7, kSum = 0;

const Nccl& library() {
  static const Nccl found;
  return found;
}

// A name for this GPU that is unique among all machines; empty if NCCL cannot be used here.
Group::Bytes identity(at::Device device) {
  cudaDeviceProp properties;
  if (!library().complete() || cudaGetDeviceProperties(&properties, device.index()) != cudaSuccess) return {};
  return Group::Bytes(properties.uuid.bytes, properties.uuid.bytes + sizeof properties.uuid.bytes);
}

// What the thread that connects has come to. It may be left behind in NCCL, which waits for ranks without an end.
struct Connecting {
  std::atomic<void*> communicator{nullptr};
  std::atomic<int> result{0};
  std::atomic<bool> done{false};
};

}  // namespace

std::unique_ptr<NcclSum> NcclSum::create(Group& group, at::Device device) {
  if (!device.has_index()) device = at::Device(at::kCUDA, c10::cuda::current_device());
  std::vector<Group::Bytes> gpus = group.allGather(identity(device));
  std::sort(gpus.begin(), gpus.end());
  if (gpus.front().empty() || std::adjacent_find(gpus.begin(), gpus.end()) != gpus.end()) return nullptr;
  const c10::cuda::CUDAGuard guard(device);
  UniqueId id{};
  if (group.rank() == 0) library().check(library().getUniqueId(&id), "no address to meet at");
  group.broadcast(&id, sizeof id);
  // One sum makes the connections too, which NCCL puts off until then.
  at::Tensor probe = at::ones({1}, at::TensorOptions().device(device).dtype(at::kFloat));
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream(device.index());
  const auto state = std::make_shared<Connecting>();
  std::thread([state, id, probe, size = group.size(), rank = group.rank(), index = device.index(),
               stream = stream.stream()] {
    void* communicator = nullptr;
    int result = cudaSetDevice(index) == cudaSuccess ? library().initRank(&communicator, size, id, rank) : 1;
    state->communicator = communicator;
    float* value = probe.data_ptr<float>();
    if (result == 0) result = library().allReduce(value, value, 1, kFloat32, kSum, communicator, stream);
    if (result == 0 && cudaStreamSynchronize(stream) != cudaSuccess) result = 1;
    state->result = result;
    state->done = true;
  }).detach();
  while (!state->done) {
    try {
      throwIfCancelled();
      group.check();
    } catch (...) {
      if (void* communicator = state->communicator) library().abort(communicator);
      throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  library().check(state->result, "the GPUs cannot be connected");
  return std::unique_ptr<NcclSum>(new NcclSum(group, device, state->communicator));
}

NcclSum::~NcclSum() {
  if (communicator_ == nullptr) return;
  // The last sum has been waited for; but other ranks may have ended, and an orderly end would wait for them.
  const c10::cuda::CUDAGuard guard(device_);
  library().abort(communicator_);
}

void NcclSum::operator()(at::Tensor& values) {
  if (communicator_ == nullptr) throw Error("RANK_FAILED", "the ranks' GPUs are not connected any more");
  const c10::cuda::CUDAGuard guard(device_);
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream(device_.index());
  float* data = values.data_ptr<float>();
  library().check(library().allReduce(data, data, static_cast<size_t>(values.numel()), kFloat32, kSum, communicator_,
                                      stream.stream()),
                  "a sum cannot be started");
  c10::Event done(at::kCUDA);
  done.record(stream);
  try {
    while (!done.query()) {
      throwIfCancelled();
      group_.check();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  } catch (...) {
    // Ends what is waiting on the GPU: nothing else would.
    library().abort(std::exchange(communicator_, nullptr));
    throw;
  }
}

}  // namespace ssn::cuda

#endif

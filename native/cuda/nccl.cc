#ifdef SSN_CUDA

#include "cuda/nccl.h"

#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
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

// The few functions of NCCL's C interface that are used, of the library that libtorch has opened. Its header is in neither libtorch nor the
// toolkit; libtorch's own (torch/csrc/cuda/nccl.h) needs the toolkit's and has no abort, without which a rank could not stop waiting
// for one that has ended.
struct Nccl {
  template <class F>
  static F* find(const char* name) {
    return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
  }
  int (*getUniqueId)(UniqueId*) = find<int(UniqueId*)>("ncclGetUniqueId");
  int (*initRank)(void**, int, UniqueId, int) = find<int(void**, int, UniqueId, int)>("ncclCommInitRank");
  int (*allReduce)(const void*, void*, size_t, int, int, void*, cudaStream_t) = find<int(const void*, void*, size_t, int, int, void*, cudaStream_t)>("ncclAllReduce");
  int (*abort)(void*) = find<int(void*)>("ncclCommAbort");
  const char* (*errorString)(int) = find<const char*(int)>("ncclGetErrorString");

  bool complete() const { return getUniqueId != nullptr && initRank != nullptr && allReduce != nullptr && abort != nullptr && errorString != nullptr; }
  void check(int result, const char* what) const {
    if (result != 0) throw Error("RANK_FAILED", std::string("NCCL: ") + what + ": " + errorString(result) + ". Without it (distributed.nccl false, --nccl off) the ranks sum over their own connections");
  }
};
constexpr int kFloat32 = 7, kSum = 0;

const Nccl& library() {
  static const Nccl found;
  return found;
}

// Names the GPU among those of all machines; empty if NCCL cannot be used here.
Group::Bytes identity(at::Device device) {
  char host[256] = {};
  cudaDeviceProp properties;
  if (!library().complete() || gethostname(host, sizeof host - 1) != 0 || cudaGetDeviceProperties(&properties, device.index()) != cudaSuccess) return {};
  Group::Bytes out(host, host + std::strlen(host));
  out.push_back('/');
  out.insert(out.end(), properties.uuid.bytes, properties.uuid.bytes + sizeof properties.uuid.bytes);
  return out;
}

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
  void* communicator = nullptr;
  library().check(library().initRank(&communicator, group.size(), id, group.rank()), "the GPUs cannot be connected");
  return std::unique_ptr<NcclSum>(new NcclSum(group, device, communicator));
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
  library().check(library().allReduce(data, data, static_cast<size_t>(values.numel()), kFloat32, kSum, communicator_, stream.stream()), "a sum cannot be started");
  c10::Event done(at::kCUDA);
  done.record(stream);
  try {
    while (!done.query()) {
      throwIfCancelled();
      group_.check();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  } catch (...) {
    // A rank that has its sum may be gone before this one sees its own.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (done.query()) return;
    // Ends what is waiting on the GPU: nothing else would.
    library().abort(std::exchange(communicator_, nullptr));
    throw;
  }
}

}  // namespace ssn::cuda

#endif

#ifdef SSN_CUDA

#include "cuda/nccl.h"

#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <torch/csrc/cuda/nccl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "cancel.h"
#include "error.h"

namespace ssn::cuda {

namespace nccl = torch::cuda::nccl;

namespace {

// Not among what libtorch offers of NCCL, but without it a rank could not stop waiting for one that has ended.
using Abort = int (*)(void* communicator);
Abort abortCommunicator() { return reinterpret_cast<Abort>(dlsym(RTLD_DEFAULT, "ncclCommAbort")); }

// Names the GPU among those of all machines; empty if NCCL cannot be used here.
Group::Bytes identity(at::Device device) {
  char host[256] = {};
  cudaDeviceProp properties;
  if (abortCommunicator() == nullptr || gethostname(host, sizeof host - 1) != 0 || cudaGetDeviceProperties(&properties, device.index()) != cudaSuccess) return {};
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
  nccl::ncclUniqueId id{};
  if (group.rank() == 0) nccl::get_unique_id(id);
  group.broadcast(&id, sizeof id);
  return std::unique_ptr<NcclSum>(new NcclSum(group, device, nccl::comm_init_rank(group.size(), id, group.rank())));
}

NcclSum::~NcclSum() {
  if (communicator_ == nullptr) return;
  // The last sum has been waited for; but other ranks may have ended, and an orderly end would wait for them.
  const c10::cuda::CUDAGuard guard(device_);
  abortCommunicator()(communicator_);
}

void NcclSum::operator()(at::Tensor& values) {
  if (communicator_ == nullptr) throw Error("RANK_FAILED", "the ranks' GPUs are not connected any more");
  const c10::cuda::CUDAGuard guard(device_);
  const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream(device_.index());
  std::vector<at::Tensor> list{values};
  nccl::all_reduce(list, list, static_cast<int32_t>(nccl::ncclRedOp::Sum), {stream}, {communicator_});
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
    abortCommunicator()(std::exchange(communicator_, nullptr));
    throw;
  }
}

}  // namespace ssn::cuda

#endif

#ifdef SSN_CUDA

#include "cuda/nccl.h"

#include <ATen/ops/ones.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <future>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "error.h"

namespace ssn::cuda {

namespace {

using Work = c10::intrusive_ptr<c10d::Work>;
constexpr std::chrono::hours kNoLimit{8760};  // the group decides who has failed

// Names the GPU among those of all machines.
Group::Bytes identity(at::Device device) {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, device.index()) != cudaSuccess) return {};
  return Group::Bytes(properties.uuid.bytes, properties.uuid.bytes + sizeof properties.uuid.bytes);
}

template <class Body>
auto reported(const char* what, Body&& body) {
  const auto failed = [&](const std::string& why) {
    return Error("RANK_FAILED", std::string("NCCL: ") + what + ": " + why + ".", /*path=*/"", "withoutNccl");
  };
  try {
    return body();
  } catch (const c10::Error& error) {
    throw failed(error.what_without_backtrace());
  } catch (const std::exception& error) {
    throw failed(error.what());
  }
}

template <class Done>
void waitUntil(Group& group, c10d::Backend& gpus, Done&& done) {
  try {
    while (!done()) {
      group.check();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  } catch (...) {
    try {
      gpus.abort();                    // ends what is waiting on the GPU: nothing else would
    } catch (const std::exception&) {  // the first error tells more
    }
    throw;
  }
}

c10::intrusive_ptr<c10d::Backend> connect(Group& group) {
  // By default a thread of ProcessGroupNCCL ends the process when a sum fails, and another when the first is held up.
  setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", /*overwrite=*/0);
  setenv("TORCH_NCCL_ENABLE_MONITORING", "0", /*overwrite=*/0);
  const auto keys = c10::intrusive_ptr<c10d::Store>::reclaim_copy(&group.store());
  keys->setTimeout(std::chrono::minutes(5));  // for rank 0's unique id: that rank opens NCCL first
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = kNoLimit;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", keys), group.rank(),
                                                     group.size(), options);
}

}  // namespace

std::unique_ptr<NcclSum> NcclSum::create(Group& group, at::Device device) {
  if (!device.has_index()) device = at::Device(at::kCUDA, c10::cuda::current_device());
  std::vector<Group::Bytes> devices = group.gather(identity(device));
  std::sort(devices.begin(), devices.end());
  if (devices.front().empty() || std::adjacent_find(devices.begin(), devices.end()) != devices.end()) return nullptr;
  const auto gpus = reported("the GPUs cannot be connected", [&] { return connect(group); });
  // The first sum makes the connections. It waits for the other ranks without an end, so its thread may be left behind.
  std::packaged_task<Work()> first([gpus, probe = at::ones({1}, at::TensorOptions().device(device).dtype(at::kFloat))] {
    const c10::cuda::CUDAGuard guard(probe.device());
    std::vector<at::Tensor> tensors{probe};
    Work work = gpus->allreduce(tensors);
    work->wait();
    return work;
  });
  std::future<Work> connected = first.get_future();
  std::thread(std::move(first)).detach();
  waitUntil(group, *gpus, [&] { return connected.wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
  reported("the GPUs cannot be connected", [&] { return connected.get(); });
  return std::unique_ptr<NcclSum>(new NcclSum(group, gpus));
}

NcclSum::~NcclSum() {
  // The last sum has been waited for; but other ranks may have ended, and an orderly end would wait for them.
  try {
    gpus_->abort();
  } catch (const std::exception&) {}
}

void NcclSum::operator()(at::Tensor& values) {
  const c10::cuda::CUDAGuard guard(values.device());
  std::vector<at::Tensor> tensors{values};
  const Work work = reported("a sum cannot be started", [&] { return gpus_->allreduce(tensors); });
  waitUntil(group_, *gpus_, [&] { return work->isCompleted(); });
  reported("a sum failed", [&] { return work->wait(); });
}

}  // namespace ssn::cuda

#endif

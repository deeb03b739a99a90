// Entry point of the engine library: nothing but exports.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <napi.h>
#include <torch/csrc/api/include/torch/version.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <latch>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "addon/convert.h"
#include "addon/engine_thread.h"
#include "addon/environment.h"
#include "addon/register.h"
#include "cuda/status.h"
#include "error.h"
#include "memory.h"

namespace ssn::addon {
namespace {

Napi::Value versions(const Napi::CallbackInfo& info) {
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("libtorch", TORCH_VERSION);
  out.Set("cpuCapability", at::get_cpu_capability());
  out.Set("mkldnn", at::get_mkldnn_version());
  out.Set("nodeApi", static_cast<double>(NAPI_VERSION));
  return out;
}

// "cpu", then one "cuda:i" per device. Asks the hooks of libtorch: they answer 0 in a build or on a machine without
// CUDA.
Napi::Value devices(const Napi::CallbackInfo& info) {
  Napi::Array out = Napi::Array::New(info.Env());
  out.Set(0u, "cpu");
  const uint32_t count = at::hasCUDA() ? static_cast<uint32_t>(at::detail::getCUDAHooks().getNumGPUs()) : 0;
  for (uint32_t i = 0; i < count; ++i) out.Set(i + 1, "cuda:" + std::to_string(i));
  return out;
}

// How many of `wanted` threads this process can still start. It tries, because no call tells: users and containers have
// limits of processes, and stacks take memory.
int startable(int wanted) {
  std::latch tried(1);
  std::vector<std::thread> threads;
  threads.reserve(wanted);
#ifdef __linux__
  std::vector<long> ids(wanted);
#endif
  try {
    for (int i = 0; i < wanted; ++i)
      threads.emplace_back([&, i] {
#ifdef __linux__
        ids[i] = syscall(SYS_gettid);
#endif
        tried.wait();
      });
  } catch (const std::exception&) {  // that was the limit
  }
  tried.count_down();
  for (std::thread& thread : threads) thread.join();
#ifdef __linux__
  // A thread counts until the kernel has removed it, a moment after it was joined.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  for (size_t i = 0; i < threads.size(); ++i)
    while (syscall(SYS_tgkill, getpid(), ids[i], 0) == 0 && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
#endif
  return static_cast<int>(threads.size());
}

// On the engine thread. libgomp ends the process when it cannot start a thread, so start them all here, after a test.
void setTeam(int threads) {
  constexpr int kSpare = 8;   // for what starts its threads later: libuv's pool, the image library
  thread_local int team = 1;  // that libgomp keeps for this thread, which is one of them
  if (threads > team) {
    const int found = team + startable(threads - team + kSpare);
    if (found < threads + kSpare) {
      const std::string most =
          std::to_string(std::max(1, found - 2 * kSpare));  // with room for what changes before the next try
      throw Error("INVALID_OPTION",
                  "Only about " + most + " threads can be started here, not " + std::to_string(threads) +
                      ": a limit of processes ('ulimit -u', or a container's) or of memory stops it.",
                  /*path=*/"", "fewerThreads");
    }
  }
  // libtorch's second pool gets the first number that it is told. It is for libraries that are not used here: give it
  // none.
  static std::once_flag pool;
  std::call_once(pool, [] { at::set_num_threads(1); });
  at::set_num_threads(threads);
  if (threads == 1 || threads == team) return;  // one alone leaves the team as it is
  at::parallel_for(0, threads, 1, [](int64_t, int64_t) {});
  team = threads;
}

Napi::Value setThreads(const Napi::CallbackInfo& info) {
  const int threads = info[0].As<Napi::Number>().Int32Value();
  return runOnEngine(info.Env(), [threads] { setTeam(threads); });
}

Napi::Value cudaStatusToJs(const Napi::CallbackInfo& info) {
  const auto status = cudaStatus();
  if (!status) return info.Env().Null();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("driver", status->driver);
  out.Set("runtime", status->runtime);
  out.Set("error", status->error);
  const auto deviceToJs = [&](const CudaStatus::Device& device) {
    Napi::Object item = Napi::Object::New(info.Env());
    item.Set("name", device.name);
    item.Set("capability", std::to_string(device.major) + "." + std::to_string(device.minor));
    item.Set("bytes", static_cast<double>(device.bytes));
    item.Set("error", device.error);
    return item;
  };
  out.Set("devices", listToJs(info.Env(), status->devices, deviceToJs));
  return out;
}

Napi::Value cudaMemoryToJs(const Napi::CallbackInfo& info) {
  const auto memory = cudaMemory(info[0].As<Napi::Number>().Int32Value(), info[1].ToBoolean());
  if (!memory) return info.Env().Null();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("reserved", static_cast<double>(memory->reserved));
  out.Set("peakReserved", static_cast<double>(memory->peakReserved));
  return out;
}

void shutdown(const Napi::CallbackInfo& info) { Environment::of(info.Env()).shutdown(); }

}  // namespace

Napi::Object init(Napi::Env env, Napi::Object createError) {
  // The library is initialised once for each environment; the allocator belongs to the process.
  static std::once_flag allocator;
  std::call_once(allocator, installRecyclingAllocator);
  Environment::create(env, createError.As<Napi::Function>());
  Napi::Object exports = Napi::Object::New(env);
  addFunction<versions>(env, exports, "versions");
  addFunction<devices>(env, exports, "devices");
  addFunction<setThreads>(env, exports, "setThreads");
  addFunction<cudaStatusToJs>(env, exports, "cudaStatus");
  addFunction<cudaMemoryToJs>(env, exports, "cudaMemory");
  addFunction<shutdown>(env, exports, "shutdown");
  registerFiles(env, exports);
  registerImages(env, exports);
  registerWindows(env, exports);
  registerMetrics(env, exports);
  registerTrainer(env, exports);
  registerGroup(env, exports);
  registerDetector(env, exports);
  registerTesting(env, exports);
  return exports;
}

}  // namespace ssn::addon

// `createError` (lib/native/errors.ts) stands where node-addon-api expects a module's exports. Returns the exports.
extern "C" __attribute__((visibility("default"))) napi_value supersimplenet_engine_init(napi_env env,
                                                                                        napi_value createError) {
  return Napi::RegisterModule(env, createError, ssn::addon::init);
}

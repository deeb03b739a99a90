// Entry point of the engine library: nothing but exports.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <napi.h>
#include <torch/csrc/api/include/torch/version.h>

#include <mutex>
#include <string>

#include "addon/convert.h"
#include "addon/engine_thread.h"
#include "addon/environment.h"
#include "addon/register.h"
#include "cuda/status.h"
#include "host_path.h"
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

// "cpu", then one "cuda:i" per device. Asks the hooks of libtorch: they answer 0 in a build or on a machine without CUDA.
Napi::Value devices(const Napi::CallbackInfo& info) {
  Napi::Array out = Napi::Array::New(info.Env());
  out.Set(0u, "cpu");
  const uint32_t count = at::hasCUDA() ? static_cast<uint32_t>(at::detail::getCUDAHooks().getNumGPUs()) : 0;
  for (uint32_t i = 0; i < count; ++i) out.Set(i + 1, "cuda:" + std::to_string(i));
  return out;
}

Napi::Value setThreads(const Napi::CallbackInfo& info) {
  const int threads = info[0].As<Napi::Number>().Int32Value();
  return runOnEngine<bool>(
      info.Env(),
      [threads] {
        at::set_num_threads(threads);
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

Napi::Value cudaStatusToJs(const Napi::CallbackInfo& info) {
  const auto status = cudaStatus();
  if (!status) return info.Env().Null();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("driver", status->driver);
  out.Set("runtime", status->runtime);
  out.Set("error", status->error);
  Napi::Array devices = Napi::Array::New(info.Env(), status->devices.size());
  for (uint32_t i = 0; i < status->devices.size(); ++i) {
    const auto& device = status->devices[i];
    Napi::Object item = Napi::Object::New(info.Env());
    item.Set("name", device.name);
    item.Set("capability", std::to_string(device.major) + "." + std::to_string(device.minor));
    item.Set("bytes", static_cast<double>(device.bytes));
    item.Set("error", device.error);
    devices.Set(i, item);
  }
  out.Set("devices", devices);
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

// For tests.
Napi::Value setPortable(const Napi::CallbackInfo& info) {
  const bool portable = info[0].As<Napi::Boolean>();
  return runOnEngine<bool>(
      info.Env(),
      [portable] {
        portableOnly = portable;
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

// For tests: bytes that malloc has handed out, null where it does not count them. By name, because glibc before 2.33 lacks it.
Napi::Value allocatedBytes(const Napi::CallbackInfo& info) {
#ifdef __GLIBC__
  struct Counts {  // struct mallinfo2
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
  };
  if (const auto count = reinterpret_cast<Counts (*)()>(dlsym(RTLD_DEFAULT, "mallinfo2"))) {
    const Counts counts = count();
    return Napi::Number::New(info.Env(), static_cast<double>(counts.uordblks + counts.hblkhd));
  }
#endif
  return info.Env().Null();
}

// For tests: the bytes outside its heap that V8 was told of.
Napi::Value externalBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(Napi::MemoryManagement::AdjustExternalMemory(info.Env(), 0)));
}

void shutdown(const Napi::CallbackInfo& info) { EngineThread::of(info.Env()).shutdown(); }

}  // namespace

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // The library is initialised once for each environment; the allocator belongs to the process.
  static std::once_flag allocator;
  std::call_once(allocator, installRecyclingAllocator);
  Environment::create(env);
  addFunction<versions>(env, exports, "versions");
  addFunction<devices>(env, exports, "devices");
  addFunction<setThreads>(env, exports, "setThreads");
  addFunction<cudaStatusToJs>(env, exports, "cudaStatus");
  addFunction<cudaMemoryToJs>(env, exports, "cudaMemory");
  addFunction<setPortable>(env, exports, "setPortable");
  addFunction<allocatedBytes>(env, exports, "allocatedBytes");
  addFunction<externalBytes>(env, exports, "externalBytes");
  addFunction<shutdown>(env, exports, "shutdown");
  registerFiles(env, exports);
  registerImages(env, exports);
  registerMetrics(env, exports);
  registerAnomalies(env, exports);
  registerTrainer(env, exports);
  registerGroup(env, exports);
  registerDetector(env, exports);
  return exports;
}

}  // namespace ssn::addon

extern "C" __attribute__((visibility("default"))) napi_value supersimplenet_engine_init(napi_env env, napi_value exports) {
  return Napi::RegisterModule(env, exports, ssn::addon::init);
}

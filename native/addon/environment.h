// What the addon keeps for each JavaScript environment (the main thread's, a worker's), as its instance data.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "addon/engine_thread.h"

namespace ssn {
class Group;
}

namespace ssn::addon {

struct Environment {
  // Call it first in an environment: instance data is finalised after everything that is made later, objects included.
  static void create(Napi::Env env, Napi::Function createError);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  explicit Environment(Napi::Env env) : engine(env) {}
  // Cancels and joins every thread. Nothing may be called afterwards.
  void shutdown();

  EngineThread engine;
  // Each has a thread, and process.exit() finalises no object that holds one.
  std::vector<std::weak_ptr<Group>> groups;
  // createError of lib/native/errors.ts, and the handler of rejections that throws what it makes.
  Napi::FunctionReference createError, throwFailure;
  // Each class is defined once (registerDetector and the others): a definition lives until the environment ends.
  Napi::FunctionReference detector, trainer, group, regionFinder, pixelStatistics;
};

// Tells V8 how much memory outside its heap an object holds, so that V8 collects garbage when there is much of it. Use
// it on the JavaScript thread; set it to 0 before the object goes.
class ExternalMemory {
 public:
  void set(Napi::Env env, int64_t bytes) {
    Napi::MemoryManagement::AdjustExternalMemory(env, bytes - bytes_);
    bytes_ = bytes;
  }

 private:
  int64_t bytes_ = 0;
};

}  // namespace ssn::addon

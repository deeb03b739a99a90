// What the addon keeps for each JavaScript environment (the main thread's, a worker's), as its instance data.
#pragma once

#include <napi.h>

#include "addon/engine_thread.h"

namespace ssn::addon {

struct Environment {
  // First of all in an environment: instance data is finalised after what is made later, objects of the classes
  // included.
  static void create(Napi::Env env, Napi::Function createError);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  explicit Environment(Napi::Env env) : engine(env) {}
  EngineThread engine;
  // createError of lib/native/errors.ts, and the handler of rejections that throws what it makes.
  Napi::FunctionReference createError, throwFailure;
  // Defined once (registerDetector and its like): what a definition takes is not freed before the environment ends.
  Napi::FunctionReference detector, trainer, group;
};

// The memory outside its heap that an object has told V8 of, so that garbage is collected when there is much of it. Of
// the JavaScript thread; to be set to 0 before it goes.
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

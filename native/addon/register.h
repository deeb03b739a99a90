// One function for each file of this folder that adds to the addon's surface; addon.cc calls them all.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/errors.h"

namespace ssn {
class Group;
}

namespace ssn::addon {

// Every exported function is guarded: a C++ exception that reached node-addon-api would end the process.
template <auto Function>
auto guardedFunction(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Function(info); });
}

template <auto Function>
void addFunction(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<guardedFunction<Function>>(env, name));
}

void registerFiles(Napi::Env env, Napi::Object exports);    // tensor files
void registerImages(Napi::Env env, Napi::Object exports);   // resize, training targets
void registerWindows(Napi::Env env, Napi::Object exports);  // views of images
void registerMetrics(Napi::Env env, Napi::Object exports);  // ROC, AP, AUPRO, regions
void registerTrainer(Napi::Env env, Napi::Object exports);
void registerDetector(Napi::Env env, Napi::Object exports);
void registerGroup(Napi::Env env, Napi::Object exports);    // several processes that train together
void registerTesting(Napi::Env env, Napi::Object exports);  // `testing`: what only tests call

// createTrainer(config, backbone, heads), within a group or (null) alone.
Napi::Value createTrainerIn(std::shared_ptr<Group> group, const Napi::CallbackInfo& info);

}  // namespace ssn::addon

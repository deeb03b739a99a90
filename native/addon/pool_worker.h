// Work without libtorch (image resizing, targets, metrics) runs on the libuv pool, beside the engine thread.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <optional>

#include "addon/engine_thread.h"
#include "addon/errors.h"
#include "cancel.h"

namespace ssn::addon {

template <class Result>
class PoolWorker final : public Napi::AsyncWorker {
 public:
  PoolWorker(Napi::Env env, std::function<Result()> work, std::function<Napi::Value(Napi::Env, Result&)> convert)
      : Napi::AsyncWorker(env),
        deferred(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        convert_(std::move(convert)),
        stopping_(EngineThread::of(env).stopping()) {}
  Napi::Promise::Deferred deferred;

 protected:
  void Execute() override {
    CancelScope scope(&stopping_);
    failure_ = capture([&] { result_.emplace(work_()); });
  }
  void OnOK() override {
    try {
      settlePromise(Env(), deferred, failure_, result_, convert_);
    } catch (const Napi::Error&) {
      // resolve and reject fail while a worker is being terminated; there is nobody left to tell
    }
  }

 private:
  std::function<Result()> work_;
  std::function<Napi::Value(Napi::Env, Result&)> convert_;
  // Node waits for pool work before it exits, so shutdown() cancels that too: the engine thread's flag serves both.
  const std::atomic<bool>& stopping_;
  std::optional<Result> result_;
  std::optional<Failure> failure_;
};

// Queues `work` on the libuv pool; the promise settles with convert(env, result).
template <class Result>
Napi::Value runOnPool(Napi::Env env, std::function<Result()> work,
                      std::function<Napi::Value(Napi::Env, Result&)> convert) {
  auto* worker = new PoolWorker<Result>(env, std::move(work), std::move(convert));
  Napi::Promise promise = withErrors(env, worker->deferred.Promise());
  worker->Queue();
  return promise;
}

}  // namespace ssn::addon

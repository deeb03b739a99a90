// One thread per JavaScript environment that runs everything which uses libtorch, in order of arrival.
// Not the libuv pool: libgomp makes a team of threads for every thread that calls it.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "addon/errors.h"

namespace ssn::addon {

// `convert` and what it captures may be destroyed on the engine thread, so it must hold no JavaScript handles.
struct Job {
  virtual ~Job() = default;
  virtual void execute() = 0;              // engine thread
  virtual void settle(Napi::Env env) = 0;  // JavaScript thread
};

template <class Result>
struct PromiseJob final : Job {
  PromiseJob(Napi::Env env, std::function<Result()> work, std::function<Napi::Value(Napi::Env, Result&)> convert)
      : deferred(Napi::Promise::Deferred::New(env)), work(std::move(work)), convert(std::move(convert)) {}
  void execute() override {
    failure = capture([&] { result.emplace(work()); });
    work = nullptr;  // what it captured dies on the thread that used it
  }
  void settle(Napi::Env env) override { settlePromise(env, deferred, failure, result, convert); }
  Napi::Promise::Deferred deferred;
  std::function<Result()> work;
  std::function<Napi::Value(Napi::Env, Result&)> convert;
  std::optional<Result> result;
  std::optional<Failure> failure;
};

class EngineThread {
 public:
  // The environment's (addon/environment.h); its thread is started by the first job.
  static EngineThread& of(Napi::Env env);
  explicit EngineThread(Napi::Env env);

  void push(Napi::Env env, std::unique_ptr<Job> job);

  // Drops the reference on the engine thread, after the jobs queued before: freeing what a GPU uses waits for the GPU.
  // For what a job has made: the thread runs, so this does not throw. Once the thread is stopping, the reference dies
  // here.
  void discard(Napi::Env env, std::shared_ptr<void> reference);

  // Cancels what runs, drops what waits, joins the thread. Promises still pending stay so. Safe to call twice.
  void shutdown();

  // True from shutdown() on. The flag lives as long as the environment, also for work on other threads.
  const std::atomic<bool>& stopping() const { return stopping_; }

 private:
  void loop();
  static void settle(Napi::Env env, Napi::Function, EngineThread* self, Job* job);
  using Callback = Napi::TypedThreadSafeFunction<EngineThread, Job, settle>;

  Callback callback_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> queue_;
  std::atomic<bool> stopping_{false};
  // JavaScript thread only: jobs not yet settled; the event loop is kept alive while there are any.
  size_t pending_ = 0;
};

// Queues `work`; the promise settles with convert(env, result) on the JavaScript thread.
template <class Result>
Napi::Value runOnEngine(Napi::Env env, std::function<Result()> work,
                        std::function<Napi::Value(Napi::Env, Result&)> convert) {
  auto job = std::make_unique<PromiseJob<Result>>(env, std::move(work), std::move(convert));
  Napi::Promise promise = withErrors(env, job->deferred.Promise());
  EngineThread::of(env).push(env, std::move(job));
  return promise;
}
// For work without a result: the promise settles with undefined.
Napi::Value runOnEngine(Napi::Env env, std::function<void()> work);

}  // namespace ssn::addon

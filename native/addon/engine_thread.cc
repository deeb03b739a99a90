#include "addon/engine_thread.h"

#include "cancel.h"

namespace ssn::addon {

EngineThread::EngineThread(Napi::Env env) {
  callback_ = Callback::New(env, "supersimplenet engine", /*maxQueueSize=*/0, /*initialThreadCount=*/1, this);
  callback_.Unref(env);
}

void EngineThread::create(Napi::Env env) {
  auto* self = new EngineThread(env);
  // Instance data lives until the environment is gone, after every clean-up hook.
  env.SetInstanceData<EngineThread>(self);
  // Hooks run in reverse order of registration: this one, added after the thread-safe function, runs before that is
  // finalised. process.exit() runs no hooks on the main thread; lib/native/engine.ts calls shutdown() there.
  env.AddCleanupHook([self] { self->shutdown(); });
}

EngineThread& EngineThread::of(Napi::Env env) { return *env.GetInstanceData<EngineThread>(); }

void EngineThread::push(Napi::Env env, std::unique_ptr<Job> job) {
  if (stopping_) throw Napi::Error::New(env, "the engine was shut down");
  if (pending_++ == 0) callback_.Ref(env);
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  wake_.notify_one();
}

void EngineThread::loop() {
  CancelScope scope(&stopping_);
  for (;;) {
    std::unique_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job->execute();
    if (stopping_) return;
    Job* raw = job.release();
    if (callback_.NonBlockingCall(raw) != napi_ok) delete raw;
  }
}

void EngineThread::settle(Napi::Env env, Napi::Function, EngineThread* self, Job* raw) {
  std::unique_ptr<Job> job(raw);
  if (static_cast<napi_env>(env) == nullptr || self == nullptr) return;  // the environment is being torn down
  Napi::HandleScope scope(env);
  try {
    job->settle(env);
  } catch (const Napi::Error&) {
    // resolve and reject fail during tear-down; there is nobody left to tell
  }
  if (--self->pending_ == 0 && !self->stopping_) self->callback_.Unref(env);
}

void EngineThread::shutdown() {
  if (stopping_.exchange(true)) return;
  {
    std::lock_guard lock(mutex_);
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  std::deque<std::unique_ptr<Job>> dropped;
  {
    std::lock_guard lock(mutex_);
    dropped.swap(queue_);
  }
  callback_.Abort();
}

}  // namespace ssn::addon

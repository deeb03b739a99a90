#include "addon/engine_thread.h"

#include "addon/environment.h"
#include "cancel.h"
#include "distributed/group.h"
#include "error.h"

namespace ssn::addon {

EngineThread::EngineThread(Napi::Env env) {
  callback_ = Callback::New(env, "supersimplenet engine", /*maxQueueSize=*/0, /*initialThreadCount=*/1, this);
  callback_.Unref(env);
}

void Environment::create(Napi::Env env, Napi::Function createError) {
  auto* self = new Environment(env);
  self->createError = Napi::Persistent(createError);
  self->throwFailure = Napi::Persistent(Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
    throw Napi::Error(info.Env(), Environment::of(info.Env()).createError.Call({info[0]}));
  }));
  // Instance data lives until the environment is gone, after every clean-up hook.
  env.SetInstanceData<Environment>(self);
  // Hooks run in reverse order of registration: this one, added after the thread-safe function, runs before that is
  // finalised. process.exit() runs no hooks on the main thread; lib/native/engine.ts calls shutdown() there.
  env.AddCleanupHook([self] { self->shutdown(); });
}

void Environment::shutdown() {
  engine.shutdown();
  for (const std::weak_ptr<Group>& each : groups)
    if (const auto group = each.lock()) group->disconnect();
  groups.clear();
}

EngineThread& EngineThread::of(Napi::Env env) { return Environment::of(env).engine; }

Napi::Value runOnEngine(Napi::Env env, std::function<void()> work) {
  return runOnEngine<bool>(
      env,
      [work = std::move(work)] {
        work();
        return true;
      },
      [](Napi::Env e, bool&) { return e.Undefined(); });
}

void EngineThread::push(Napi::Env env, std::unique_ptr<Job> job) {
  guarded(env, [&] {
    if (stopping_) throw Error("ABORTED", "the process or worker is ending: the engine takes no more work");
    if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });  // may throw: before the job is counted
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  });
  if (pending_++ == 0) callback_.Ref(env);
  wake_.notify_one();
}

void EngineThread::discard(Napi::Env env, std::shared_ptr<void> reference) {
  struct Discard final : Job {
    explicit Discard(std::shared_ptr<void> what) : reference(std::move(what)) {}
    void execute() override { reference.reset(); }
    void settle(Napi::Env) override {}
    std::shared_ptr<void> reference;
  };
  if (!stopping_ && reference) push(env, std::make_unique<Discard>(std::move(reference)));
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
    if (stopping_) return;  // dropped here: the thread-safe function is about to be aborted
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
    // resolve and reject fail during tear-down (a worker that is being terminated); there is nobody left to tell
  }
  if (--self->pending_ == 0 && !self->stopping_) self->callback_.Unref(env);
}

void EngineThread::shutdown() {
  if (stopping_.exchange(true)) return;
  {
    std::lock_guard lock(mutex_);  // a thread between testing the flag and waiting would miss the notification
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

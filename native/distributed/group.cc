#include "distributed/group.h"

#include <ATen/core/ivalue.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "cancel.h"
#include "distributed/rendezvous.h"

namespace ssn {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
using Work = c10::intrusive_ptr<c10d::Work>;

constexpr Milliseconds kTick{100};            // between signs of life
constexpr Milliseconds kFarewell{1000};       // for the others to hear of a failure
constexpr Milliseconds kLeaving{3000};        // for the others to leave
constexpr Milliseconds kReason{5000};         // for the watch to learn why a connection is lost
constexpr std::chrono::hours kNoLimit{8760};  // the watch decides who has failed, not the time that a sum takes

Error lost(const std::string& message) { return Error("RANK_FAILED", message); }

// What the ranks tell each other all the time.
struct Status {
  enum { kAlive, kLeaving, kFailed } state = kAlive;
  int64_t finished = 0;  // collective calls before it failed
  char code[32] = {}, message[968] = {};
};

void copyText(char* to, size_t size, const std::string& text) { text.copy(to, size - 1); }

}  // namespace

// Beside the collective calls of the engine's thread, a thread of its own (the watch) exchanges a Status with every
// other rank, round by round. Gloo's collectives neither say which rank is missing nor tell a slow rank from a frozen
// one; a receive from one rank does.
struct Group::Connections {
  struct Peer {
    std::string name;  // "rank 2 (10.0.0.7)"
    bool leaving = false, failed = false, gone = false;
  };

  GroupOptions options;
  c10::intrusive_ptr<c10d::Store> store;
  std::vector<Peer> peers;  // by rank; of the watch
  std::mutex starting;      // ProcessGroupGloo counts what it starts without a lock
  std::mutex mutex;         // of all below
  std::condition_variable changed;
  std::optional<Error> failure;
  int64_t failedAfter = -1;  // the failure is for calls after this one: those before are finished by all
  int64_t started = 0, finished = 0;
  bool leaving = false, stopping = false, watching = false;
  c10d::Work* waitedFor = nullptr;  // by the watch
  std::thread thread;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group;

  ~Connections() { stop(); }

  void join() {
    Meeting meeting = meet(options, [this] { check(); });
    store = std::move(meeting.store);
    for (int r = 0; r < options.size; ++r)
      peers.push_back({"rank " + std::to_string(r) + " (" + meeting.hosts[r] + ")"});
    auto gloo = c10d::ProcessGroupGloo::Options::create(std::clamp<Milliseconds>(
        options.joinTimeout, std::chrono::seconds(5), std::chrono::seconds(30)));  // all ranks were there just now
    gloo->threads = 1;
    try {
      gloo->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(meeting.hosts[options.rank])};
      group = c10::make_intrusive<c10d::ProcessGroupGloo>(store, options.rank, options.size, gloo);
    } catch (const c10::Error& error) {
      throw lost(std::string("the ranks cannot be connected: ") + error.what_without_backtrace());
    } catch (const std::exception& error) {
      throw lost(std::string("the ranks cannot be connected: ") + error.what());
    }
    group->setTimeout(kNoLimit);
    watching = true;
    thread = std::thread([this] {
      try {
        watch();
      } catch (const std::exception& error) {  // no memory; the other ranks see this one leave
        fail(lost(std::string("the other ranks cannot be watched any more: ") + error.what()));
      }
      std::lock_guard lock(mutex);
      watching = false;
      changed.notify_all();
    });
  }

  void check() {
    throwIfCancelled();
    std::lock_guard lock(mutex);
    if (failure) throw *failure;
  }

  void fail(const Error& error, int64_t after = -1) {
    std::lock_guard lock(mutex);
    if (!failure) {
      failure = error;
      failedAfter = after;
    }
    if (waitedFor != nullptr) waitedFor->abort();
    changed.notify_all();
  }

  template <class Start>
  void collective(Start&& start) {
    if (!group) throw Error("INTERNAL", "the ranks are not connected");
    throwIfCancelled();
    {
      std::lock_guard lock(mutex);
      if (failure && started + 1 > failedAfter) throw *failure;
      ++started;
    }
    c10::intrusive_ptr<c10::ivalue::Future> future;
    {
      std::lock_guard lock(starting);
      future = start(*group)->getFuture();
    }
    future->addCallback([this](c10::ivalue::Future&) {
      std::lock_guard lock(mutex);
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    std::optional<Clock::time_point> unheard;  // since when nobody watches a call that a rank has finished
    while (!future->completed()) {
      if (failure && started > failedAfter) throw *failure;
      if (failure && !watching && Clock::now() - unheard.value_or(Clock::now()) > options.silenceTimeout)
        throw *failure;
      if (failure && !watching && !unheard) unheard = Clock::now();
      changed.wait_for(lock, Milliseconds(50));
      throwIfCancelled();
    }
    if (future->hasError()) {
      changed.wait_for(lock, kReason, [&] { return failure || !watching; });
      throw failure.value_or(lost("the connections to the other ranks are lost"));
    }
    // The others may have heard already that this rank did not finish the call.
    if (failure && started > failedAfter) throw *failure;
    finished = started;
  }

  // --- the watch ---

  void watch() {
    for (;;) {
      Status mine;
      {
        std::unique_lock lock(mutex);
        changed.wait_for(lock, kTick, [&] { return failure || leaving || stopping; });
        if (stopping) return;
        if (failure) {
          mine.state = Status::kFailed;
          mine.finished = finished;
          copyText(mine.code, sizeof mine.code, failure->code());
          copyText(mine.message, sizeof mine.message, failure->what());
        } else if (leaving) {
          mine.state = Status::kLeaving;
        }
      }
      exchange(mine);
      const bool alone = std::all_of(peers.begin(), peers.end(), [&](const Peer& peer) {
        return &peer == &peers[options.rank] || peer.gone || peer.leaving;
      });
      if (mine.state == Status::kFailed || (mine.state == Status::kLeaving && alone)) return;
    }
  }

  void exchange(const Status& mine) {
    const Clock::time_point begun = Clock::now();
    at::Tensor out = at::empty({sizeof mine}, at::kByte);
    std::memcpy(out.data_ptr(), &mine, sizeof mine);
    struct Exchange {
      int rank;
      at::Tensor in;
      Work receive, send;
    };
    std::vector<Exchange> exchanges;
    const auto attempt = [&](int r, auto&& body) {
      Peer& peer = peers[r];
      if (peer.gone) return;
      try {
        body();
      } catch (const std::exception&) {  // Gloo's and c10d's say it in many words
        peer.gone = true;
        const bool silent = Clock::now() - begun >= options.silenceTimeout;
        if (!peer.leaving)
          fail(lost(peer.name + (silent ? " was silent for " + seconds(options.silenceTimeout) : " has ended")));
      }
    };
    for (int r = 0; r < options.size; ++r) {
      if (r == options.rank) continue;
      attempt(r, [&] {
        std::vector<at::Tensor> in{at::empty({sizeof(Status)}, at::kByte)}, tensors{out};
        std::lock_guard lock(starting);
        Work receive = group->recv(in, r, /*tag=*/0);
        exchanges.push_back({r, in[0], receive, group->send(tensors, r, /*tag=*/0)});
      });
    }
    for (const Exchange& with : exchanges)
      attempt(with.rank, [&] {
        if (waitFor(*with.receive, begun)) hear(peers[with.rank], with.in);
      });
    for (const Exchange& with : exchanges) attempt(with.rank, [&] { waitFor(*with.send, begun); });
    for (Peer& peer : peers) peer.gone |= peer.failed;  // says nothing more
  }

  // False when stopped. Throws when the rank has ended or time is over: then Gloo closes all connections.
  bool waitFor(c10d::Work& work, Clock::time_point begun) {
    for (;;) {
      Clock::duration left;
      {
        std::lock_guard lock(mutex);
        if (stopping) return false;
        left = begun + options.silenceTimeout - Clock::now();
        if (failure) left = std::min<Clock::duration>(left, kFarewell);
        waitedFor = &work;
      }
      const auto forget = [this](void*) {
        std::lock_guard lock(mutex);
        waitedFor = nullptr;
      };
      const std::unique_ptr<Connections, decltype(forget)> guard(this, forget);
      if (work.wait(std::max(std::chrono::ceil<Milliseconds>(left), Milliseconds(1)))) return true;
    }
  }

  void hear(Peer& peer, const at::Tensor& in) {
    Status theirs;
    std::memcpy(&theirs, in.data_ptr(), sizeof theirs);
    theirs.code[sizeof theirs.code - 1] = theirs.message[sizeof theirs.message - 1] = 0;
    peer.leaving = theirs.state == Status::kLeaving;
    if (theirs.state != Status::kFailed) return;
    peer.failed = true;
    fail(failureOfRank(peer.name, Error(theirs.code, theirs.message)), theirs.finished);
  }

  // --- the end ---

  void leave() {
    {
      std::unique_lock lock(mutex);
      leaving = true;
      changed.notify_all();
      changed.wait_for(lock, kLeaving, [&] { return !watching; });
    }
    stop();
  }

  void stop() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
      if (waitedFor != nullptr) waitedFor->abort();
      changed.notify_all();
    }
    if (thread.joinable()) thread.join();
    if (group && started != finished) closeConnections();
    group.reset();
    store.reset();
  }

  // Ends a collective call that still waits for other ranks, as ~ProcessGroupGloo waits for it: c10d has no abort for
  // Gloo, but a receive whose time is over closes all connections of the group.
  void closeConnections() {
    for (int r = 0; r < options.size; ++r) {
      if (r == options.rank) continue;
      try {
        std::vector<at::Tensor> nothing{at::empty({1}, at::kByte)};
        group->recv(nothing, r, /*tag=*/1)->wait(Milliseconds(1));
      } catch (const std::exception&) {}
    }
  }
};

Group::Group(const GroupOptions& options) : connections_(std::make_unique<Connections>()) {
  connections_->options = options;
}
Group::~Group() = default;
void Group::join() { connections_->join(); }
int Group::rank() const { return connections_->options.rank; }
int Group::size() const { return connections_->options.size; }
void Group::check() { connections_->check(); }
void Group::fail(const std::string& code, const std::string& message) { connections_->fail(Error(code, message)); }
void Group::disconnect() { connections_->stop(); }
void Group::leave() { connections_->leave(); }
c10d::Store& Group::store() { return *connections_->store; }

void Group::sum(at::Tensor& values) {
  std::vector<at::Tensor> tensors{values};
  connections_->collective([&](c10d::Backend& group) { return group.allreduce(tensors); });
}

void Group::sum(double* values, size_t count) {
  at::Tensor copy = at::empty({static_cast<int64_t>(count)}, at::kDouble);
  std::copy_n(values, count, copy.data_ptr<double>());
  sum(copy);
  std::copy_n(copy.data_ptr<double>(), count, values);
}

void Group::broadcast(at::Tensor& values) {
  std::vector<at::Tensor> tensors{values};
  connections_->collective([&](c10d::Backend& group) { return group.broadcast(tensors); });
}

at::Tensor Group::gather(const at::Tensor& mine) {
  std::vector<at::Tensor> tensors{mine};
  std::vector<std::vector<at::Tensor>> parts(1);
  std::vector<int64_t> shape = mine.sizes().vec();
  shape.insert(shape.begin(), size());
  at::Tensor out = at::empty(shape, mine.options());
  for (int r = 0; r < size(); ++r) parts[0].push_back(out[r]);
  connections_->collective([&](c10d::Backend& group) { return group.allgather(parts, tensors); });
  return out;
}

std::vector<Group::Bytes> Group::gather(const Bytes& mine) {
  const at::Tensor sizes = gather(at::full({1}, static_cast<int64_t>(mine.size()), at::kLong));
  const int64_t* bytes = sizes.data_ptr<int64_t>();
  at::Tensor padded = at::zeros({std::max<int64_t>(1, *std::max_element(bytes, bytes + size()))}, at::kByte);
  if (!mine.empty()) std::memcpy(padded.data_ptr(), mine.data(), mine.size());
  const at::Tensor all = gather(padded);
  std::vector<Bytes> out;
  for (int r = 0; r < size(); ++r) {
    const auto* from = all.data_ptr<uint8_t>() + r * padded.numel();
    out.emplace_back(from, from + bytes[r]);
  }
  return out;
}

}  // namespace ssn

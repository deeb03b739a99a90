#include "distributed/rendezvous.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <c10/util/Logging.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace ssn {
namespace {

using Clock = std::chrono::steady_clock;
using Keys = c10::intrusive_ptr<c10d::Store>;
constexpr std::chrono::milliseconds kPoll{20};
constexpr std::chrono::milliseconds kFarewell{500};
constexpr std::chrono::seconds kAnswer{2};  // a rank that waits answers a call much sooner

std::string numeric(const sockaddr* address, socklen_t length) {
  char host[NI_MAXHOST];
  if (getnameinfo(address, length, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0) return "";
  return host;
}

struct Route {
  std::string master, own;  // numeric addresses of the master that answered and of this rank as the master sees it
};

// Connects to the master once, and closes again. TCPStore waits for its server in a way that cannot be cancelled, and
// Gloo must be told the address at which the other ranks reach this one.
std::optional<Route> knock(const std::string& host, uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return std::nullopt;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const int fd = ::socket(at->ai_family, SOCK_STREAM, 0);
    if (fd < 0) continue;  // a name may have IPv6 addresses where there is no IPv6
    const timeval limit{/*tv_sec=*/3, /*tv_usec=*/0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_storage own{};
    auto* ownAddress = reinterpret_cast<sockaddr*>(&own);
    socklen_t length = sizeof own;
    // While nobody listens at a port that the system also gives to callers, a caller may be given just that and reach
    // itself.
    const bool connected = ::connect(fd, at->ai_addr, at->ai_addrlen) == 0 &&
                           getsockname(fd, ownAddress, &length) == 0 &&
                           std::memcmp(&own, at->ai_addr, at->ai_addrlen) != 0;
    ::close(fd);
    if (connected) return Route{numeric(at->ai_addr, at->ai_addrlen), numeric(ownAddress, length)};
  }
  return std::nullopt;
}

Keys openStore(const std::string& host, uint16_t port, bool serves) {
  // All that c10d logs, with a page of its stack, comes as an exception too.
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  c10d::TCPStoreOptions options;
  options.port = port;
  options.isServer = serves;
  options.waitWorkers = false;
  options.timeout = std::chrono::seconds(10);  // nothing waits for a key but NCCL, which has a limit of its own
  return c10::make_intrusive<c10d::TCPStore>(host, options);
}

void set(c10d::Store& keys, const std::string& key, const std::string& value) {
  keys.set(key, std::vector<uint8_t>(value.begin(), value.end()));
}

std::optional<std::string> get(c10d::Store& keys, const std::string& key) {
  if (!keys.check({key})) return std::nullopt;
  const std::vector<uint8_t> value = keys.get(key);
  return std::string(value.begin(), value.end());
}

std::string rankKey(int rank) { return "rank " + std::to_string(rank); }

// Rank 0 calls under a random token, under which the others leave their addresses. When all have answered within two
// seconds of the call, so that none has gone meanwhile, it says "go"; else it calls again. A group has no number that
// its ranks would have to agree on, because a rank that was refused before it came here has not counted what the
// others have: in a store that outlives groups, an old call is told by "go", which only those who saw the call before
// it take for theirs, and is followed by rank 0's next call.
class Rendezvous {
 public:
  Rendezvous(const GroupOptions& options, const std::function<void()>& check)
      : options_(options), check_(check), end_(Clock::now() + options.joinTimeout) {}

  Meeting run() {
    try {
      if (options_.rank == 0 && !options_.launcherStore)
        store_ = c10::make_intrusive<c10d::PrefixStore>(options_.prefix,
                                                        openStore("localhost", options_.masterPort, /*serves=*/true));
      return options_.rank == 0 ? call() : answer();
    } catch (const Error& error) {
      giveUp(error);
      throw;
    } catch (const c10::Error& error) {
      throw Error("RANK_FAILED", "the store at " + master() + " fails: " + error.what_without_backtrace());
    } catch (const std::exception& error) {
      throw Error("RANK_FAILED", "the store at " + master() + " fails: " + error.what());
    }
  }

 private:
  std::string master() const { return options_.masterAddress + ":" + std::to_string(options_.masterPort); }
  std::string own() const { return rankKey(options_.rank) + (route_ ? " (" + route_->own + ")" : ""); }

  bool reach() {
    if (!route_) route_ = knock(options_.masterAddress, options_.masterPort);
    if (route_ && !store_)
      store_ = c10::make_intrusive<c10d::PrefixStore>(options_.prefix,
                                                      openStore(route_->master, options_.masterPort, /*serves=*/false));
    return route_.has_value();
  }

  void wait(const std::string& missing) const {
    check_();
    if (Clock::now() >= end_)
      throw Error("RANK_FAILED",
                  missing + " within " + seconds(options_.joinTimeout) + "; they meet at " + master() + trouble_);
    std::this_thread::sleep_for(kPoll);
  }

  void throwIfFailed(c10d::Store& group) const {
    if (const std::optional<std::string> failed = get(group, "failed")) {
      const size_t space = failed->find(' ');
      throw Error(failed->substr(0, space), failed->substr(space + 1));
    }
  }

  // For those that wait under the same call.
  void giveUp(const Error& error) {
    if (!group_) return;
    const Error told = failureOfRank(own(), error);
    try {
      set(*group_, "failed", told.code() + " " + told.what());
      if (options_.rank != 0) return;
      std::this_thread::sleep_for(kFarewell);  // the store may close after this
      set(*store_, "call", "");
    } catch (const std::exception&) {  // the store has gone: so have those that served it
    }
  }

  Keys keysOf(const std::string& token) const { return c10::make_intrusive<c10d::PrefixStore>(token, store_); }

  std::string absent() const {
    std::string names;
    for (int r = 1; r < options_.size; ++r)
      if (!group_->check({rankKey(r)})) names += (names.empty() ? "rank " : ", ") + std::to_string(r);
    return names;
  }

  Meeting call() {
    while (!reach()) wait("nobody answered");
    for (;;) {
      const std::string token = std::to_string((uint64_t{std::random_device{}()} << 32) | std::random_device{}());
      const std::string words = token + " " + std::to_string(options_.size) + " " + route_->own;
      group_ = keysOf(token);
      set(*group_, rankKey(0), route_->own);
      set(*store_, "call", words);
      const Clock::time_point called = Clock::now();
      for (std::string names = absent(); !names.empty(); names = absent()) {
        throwIfFailed(*group_);
        wait(names + " did not come");
      }
      if (Clock::now() - called > kAnswer) continue;
      set(*store_, "call", words + " go");
      return {group_, hosts()};
    }
  }

  Meeting answer() {
    std::string answered;
    for (;; wait(route_ ? "rank 0 did not come" : "nobody answered")) {
      try {
        if (!reach()) continue;
        trouble_.clear();
        std::istringstream words(get(*store_, "call").value_or(""));
        std::string token, host, go;
        int size = 0;
        if (!(words >> token >> size >> host)) continue;
        words >> go;
        if (token == answered) {
          if (!go.empty()) return {group_, hosts()};
          throwIfFailed(*group_);
        } else if (go.empty()) {
          const Keys group = keysOf(token);
          if (group->check({"failed"})) continue;  // left by a rank 0 that was killed
          group_ = group;
          answered = token;
          if (size != options_.size)
            throw Error("RANKS_DIFFER", rankKey(options_.rank) + " expects " + std::to_string(options_.size) +
                                            " ranks, rank 0 expects " + std::to_string(size));
          set(*group_, rankKey(options_.rank), route_->own);
        }
      } catch (const Error&) {
        throw;
      } catch (const std::exception&) {
        // Rank 0's store is there while its group is; when that has ended, until the next one begins.
        if (options_.launcherStore) throw;
        trouble_ = "; the store there fails";
        store_.reset();
        group_.reset();
        route_.reset();
        answered.clear();
      }
    }
  }

  std::vector<std::string> hosts() const {
    std::vector<std::string> out;
    for (int r = 0; r < options_.size; ++r) out.push_back(get(*group_, rankKey(r)).value_or(""));
    return out;
  }

  const GroupOptions& options_;
  const std::function<void()>& check_;
  const Clock::time_point end_;
  std::optional<Route> route_;
  std::string trouble_;
  Keys store_, group_;
};

}  // namespace

Meeting meet(const GroupOptions& options, const std::function<void()>& check) {
  return Rendezvous(options, check).run();
}

Error failureOfRank(const std::string& name, const Error& error) {
  if (error.code() == "RANK_FAILED" || error.code() == "RANKS_DIFFER") return error;
  return Error("RANK_FAILED", name + " has stopped: [" + error.code() + "] " + error.what());
}

std::string seconds(std::chrono::milliseconds time) {
  std::ostringstream out;
  out << static_cast<double>(time.count()) / 1000 << " s";
  return out.str();
}

}  // namespace ssn

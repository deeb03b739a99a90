#include "distributed/group.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <thread>

#include "cancel.h"
#include "distributed/rendezvous.h"
#include "error.h"

namespace ssn {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
using Bytes = Group::Bytes;

#ifndef MSG_NOSIGNAL
constexpr int MSG_NOSIGNAL = 0;  // macOS; Node ignores SIGPIPE
#endif

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void close() { *this = Socket(); }

 private:
  int fd_;
};

// Descriptors do not block, and a process that is started meanwhile does not inherit them: it would hold connections
// open when this one has ended.
#ifdef SOCK_CLOEXEC
int newSocket(int family) { return ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
int acceptFrom(int listener, sockaddr* caller, socklen_t* length) {
  return ::accept4(listener, caller, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
int newPipe(int (&ends)[2]) { return ::pipe2(ends, O_NONBLOCK | O_CLOEXEC); }
#else  // macOS
int prepared(int fd) {
  if (fd >= 0) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  return fd;
}
int newSocket(int family) { return prepared(::socket(family, SOCK_STREAM, 0)); }
int acceptFrom(int listener, sockaddr* caller, socklen_t* length) {
  return prepared(::accept(listener, caller, length));
}
int newPipe(int (&ends)[2]) {
  if (::pipe(ends) != 0) return -1;
  for (int end : ends) prepared(end);
  return 0;
}
#endif

Error lost(const std::string& message) { return Error("RANK_FAILED", message); }
Error systemError(const std::string& what) { return lost(what + ": " + std::strerror(errno)); }
std::string seconds(Milliseconds time) {
  std::string text = std::to_string(static_cast<double>(time.count()) / 1000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

// --- joining -------------------------------------------------------------------------------------------------------

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

std::vector<Address> resolve(const std::string& host, uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return {};
  std::vector<Address> out;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    Address address;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.length = entry->ai_addrlen;
    out.push_back(address);
  }
  freeaddrinfo(found);
  return out;
}

std::pair<std::string, uint16_t> numeric(const Address& address) {
  char host[NI_MAXHOST], service[NI_MAXSERV];
  if (getnameinfo(address.get(), address.length, host, sizeof host, service, sizeof service,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    throw lost("an address of this machine cannot be read");
  return {host, static_cast<uint16_t>(std::stoi(service))};
}

Address localEnd(const Socket& socket) {
  Address address;
  address.length = sizeof address.storage;
  if (getsockname(socket.fd(), address.get(), &address.length) != 0) throw systemError("getsockname");
  return address;
}

// Whether to wait no longer; throws if joining is to end. Asked every 50 ms.
using Over = std::function<bool()>;

bool waitFor(int fd, short events, const Over& over) {
  while (!over()) {
    pollfd entry{fd, events, 0};
    if (::poll(&entry, 1, 50) > 0) return true;
  }
  return false;
}

// Once; not open if nobody listens there.
Socket tryConnect(const Address& address, const Over& over) {
  Socket socket(newSocket(address.storage.ss_family));
  if (!socket.open() && errno == EAFNOSUPPORT)
    return Socket();  // a name may have IPv6 addresses where there is no IPv6
  if (!socket.open()) throw systemError("socket");
  if (::connect(socket.fd(), address.get(), address.length) != 0) {
    if (errno != EINPROGRESS || !waitFor(socket.fd(), POLLOUT, over)) return Socket();
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) return Socket();
  }
  // While nobody listens at a port that the system also gives to callers, a caller may be given just that and reach
  // itself.
  if (numeric(localEnd(socket)) == numeric(address)) return Socket();
  return socket;
}

struct Connection {
  Socket socket;
  std::string host;  // the address that has answered
};

// Every address of the host in turn: one from which nothing comes back, not even a refusal, must not hide the others.
Connection tryConnect(const std::string& host, uint16_t port, const Over& over) {
  for (const Address& address : resolve(host, port)) {
    const Clock::time_point end = Clock::now() + Milliseconds(10000);
    if (Socket socket = tryConnect(address, [&] { return over() || Clock::now() >= end; }); socket.open())
      return {std::move(socket), numeric(address).first};
  }
  return {};
}

// All of `data`; false when the other end has gone or waiting is over.
template <class Call>
bool transfer(const Socket& socket, void* data, size_t size, short events, const Over& over, Call&& call) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = call(socket.fd(), at, size);
    if (n > 0) {
      at += n;
      size -= static_cast<size_t>(n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR) || !waitFor(socket.fd(), events, over)) {
      return false;
    }
  }
  return true;
}
bool sendAll(const Socket& socket, void* data, size_t size, const Over& over) {
  return transfer(socket, data, size, POLLOUT, over,
                  [](int fd, char* at, size_t n) { return ::send(fd, at, n, MSG_NOSIGNAL); });
}
bool receiveAll(const Socket& socket, void* data, size_t size, const Over& over) {
  return transfer(socket, data, size, POLLIN, over, [](int fd, char* at, size_t n) { return ::recv(fd, at, n, 0); });
}

// The first bytes on a connection, both ways: who is there, and that it belongs to this group and to no other.
struct Greeting {
  uint64_t magic, token;
  int64_t rank, size;
};
constexpr uint64_t kMagic = 0x53534e2d72616e6b;

// --- frames --------------------------------------------------------------------------------------------------------

struct Header {
  uint64_t magic = kMagic;
  enum Type : uint64_t { kData, kAlive, kFailure } type = kData;
  uint64_t sequence = 0, bytes = 0;
};

// The largest message is half of the gradients of two ranks: 18 MB with wide_resnet50_2.
constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
// What a header announces is not believed: room is made for the usual message at once, then for as much again as has
// come.
constexpr uint64_t kFirstPiece = uint64_t{1} << 25;

struct Frame {
  Header header;
  std::shared_ptr<const Bytes> body;
  size_t sent = 0;
};

struct Peer {
  Socket socket;
  std::string name;  // "rank 2 (10.0.0.7)"; empty until it has come
  std::deque<Frame> out;
  Header header;
  size_t headerRead = 0, bodyRead = 0;
  Bytes body;  // as much of it as there is room for so far
  std::deque<std::pair<uint64_t, Bytes>> in;
  Clock::time_point heard, spoken;
  std::string gone;  // why nothing more will come
  bool shutDown = false;
};

}  // namespace

// Everything behind the mutex is shared with the thread that sends and receives. It reads whatever comes, also while
// this rank computes, so a rank never waits for another to take what it sends, and a death is noticed at once.
struct Group::Connections {
  GroupOptions options;
  std::vector<Peer> peers;  // by rank; the own entry is empty
  std::mutex mutex;
  std::condition_variable arrived;
  std::optional<Error> failure;
  uint64_t sequence = 0;
  bool leaving = false, stopping = false;
  int wake[2];
  std::thread thread;

  Connections() {
    if (newPipe(wake) != 0) throw systemError("pipe");
  }

  ~Connections() {
    stop(false);
    for (int fd : wake) ::close(fd);
  }

  void start() {
    thread = std::thread([this] {
      try {
        loop();
      } catch (const std::exception& error) {  // no memory; the other ranks see this one leave
        std::lock_guard lock(mutex);
        if (!failure) failure = lost(std::string("the exchange with the other ranks has ended: ") + error.what());
        arrived.notify_all();
      }
    });
  }

  void add(int rank, Socket socket, const std::string& where) {
    const int on = 1;
    setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    {
      std::lock_guard lock(mutex);
      Peer& peer = peers[rank];
      peer.socket = std::move(socket);
      peer.name = "rank " + std::to_string(rank) + " (" + where + ")";
      peer.heard = peer.spoken = Clock::now();
    }
    wakeUp();
  }

  void check() {
    throwIfCancelled();
    std::lock_guard lock(mutex);
    if (failure) throw *failure;
    for (const Peer& peer : peers)
      if (!peer.gone.empty()) throw lost(peer.gone);
  }

  void stop(bool orderly) {
    {
      std::lock_guard lock(mutex);
      (orderly ? leaving : stopping) = true;
      if (!failure) failure = lost("this rank has left the others");
    }
    wakeUp();
    if (thread.joinable()) thread.join();
    std::lock_guard lock(mutex);
    for (Peer& peer : peers) peer.socket.close();
  }

  void wakeUp() {
    const char byte = 0;
    [[maybe_unused]] const ssize_t n = ::write(wake[1], &byte, 1);
  }

  void post(Peer& peer, Header::Type type, uint64_t number, std::shared_ptr<const Bytes> body) {
    if (!peer.gone.empty() || !peer.socket.open()) return;
    Header header;
    header.type = type;
    header.sequence = number;
    header.bytes = body->size();
    peer.out.push_back({header, std::move(body)});
  }

  // Sends out[r] to every rank r and returns what they sent to this one.
  std::vector<Bytes> exchange(const std::vector<std::shared_ptr<const Bytes>>& out) {
    std::unique_lock lock(mutex);
    if (failure) throw *failure;
    const uint64_t number = sequence++;
    for (size_t r = 0; r < peers.size(); ++r)
      if (out[r]) post(peers[r], Header::kData, number, out[r]);
    wakeUp();
    std::vector<Bytes> in(peers.size());
    for (size_t r = 0; r < peers.size(); ++r) {
      Peer& peer = peers[r];
      if (static_cast<int>(r) == options.rank) {
        in[r] = *out[r];
        continue;
      }
      // What a rank sent before it ended still counts: one that has done its work may leave before the others have
      // read.
      while (peer.in.empty()) {
        if (failure) throw *failure;
        if (!peer.gone.empty()) throw lost(peer.gone);
        arrived.wait_for(lock, Milliseconds(50));
        throwIfCancelled();
      }
      if (peer.in.front().first != number)
        throw Error("INTERNAL", peer.name + " is at exchange " + std::to_string(peer.in.front().first) +
                                    ", this rank at " + std::to_string(number));
      in[r] = std::move(peer.in.front().second);
      peer.in.pop_front();
    }
    return in;
  }

  void fail(const std::string& code, const std::string& message) {
    {
      std::lock_guard lock(mutex);
      if (!failure) failure = Error(code, message);
      const std::string text = "[" + code + "] " + message;
      const auto body = std::make_shared<const Bytes>(text.begin(), text.end());
      for (Peer& peer : peers) post(peer, Header::kFailure, 0, body);
    }
    arrived.notify_all();
    wakeUp();
  }

  // --- the thread ---

  void drop(Peer& peer, const std::string& why) {
    peer.gone = peer.name + " " + why;
    peer.out.clear();
    peer.socket.close();
    arrived.notify_all();
  }

  void flush(Peer& peer) {
    while (!peer.out.empty()) {
      Frame& frame = peer.out.front();
      const bool inHeader = frame.sent < sizeof(Header);
      const char* from = inHeader ? reinterpret_cast<const char*>(&frame.header) + frame.sent
                                  : reinterpret_cast<const char*>(frame.body->data()) + (frame.sent - sizeof(Header));
      const size_t size = inHeader ? sizeof(Header) - frame.sent : frame.body->size() - (frame.sent - sizeof(Header));
      if (size > 0) {
        const ssize_t n = ::send(peer.socket.fd(), from, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n < 0) return;  // the other end has gone; reading says so, after what it still sent
        frame.sent += static_cast<size_t>(n);
        peer.spoken = Clock::now();
      }
      if (frame.sent == sizeof(Header) + frame.body->size()) peer.out.pop_front();
    }
  }

  void receive(Peer& peer) {
    for (;;) {
      const bool inHeader = peer.headerRead < sizeof(Header);
      char* to = inHeader ? reinterpret_cast<char*>(&peer.header) + peer.headerRead
                          : reinterpret_cast<char*>(peer.body.data()) + peer.bodyRead;
      const size_t size = inHeader ? sizeof(Header) - peer.headerRead : peer.body.size() - peer.bodyRead;
      if (size > 0) {
        const ssize_t n = ::recv(peer.socket.fd(), to, size, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0)
          return drop(peer,
                      n == 0 || errno == ECONNRESET ? "has ended" : std::string("was lost: ") + std::strerror(errno));
        peer.heard = Clock::now();
        (inHeader ? peer.headerRead : peer.bodyRead) += static_cast<size_t>(n);
      }
      if (peer.headerRead < sizeof(Header)) continue;
      if (inHeader) {
        // Two messages may wait here: a rank is at most one exchange ahead, and needs this one's part to go on.
        const bool unasked = peer.header.type == Header::kData && peer.in.size() > 1;
        if (peer.header.magic != kMagic || peer.header.type > Header::kFailure || peer.header.bytes > kMaxBytes ||
            unasked)
          return drop(peer, "sent something that is not understood");
        peer.bodyRead = 0;
      }
      if (peer.bodyRead == peer.body.size())
        peer.body.resize(std::min<uint64_t>(peer.header.bytes, std::max<uint64_t>(kFirstPiece, 2 * peer.bodyRead)));
      if (peer.bodyRead < peer.header.bytes) continue;
      if (peer.header.type == Header::kData) {
        peer.in.emplace_back(peer.header.sequence, std::move(peer.body));
        arrived.notify_all();
      } else if (peer.header.type == Header::kFailure) {
        if (!failure) failure = lost(peer.name + " has stopped: " + std::string(peer.body.begin(), peer.body.end()));
        arrived.notify_all();
      }
      peer.body = {};
      peer.headerRead = 0;
    }
  }

  void loop() {
    const Milliseconds tick = std::clamp(options.silenceTimeout / 4, Milliseconds(50), Milliseconds(5000));
    std::optional<Clock::time_point> leavingSince;
    std::vector<pollfd> entries;
    Clock::time_point last = Clock::now();
    for (;;) {
      entries.assign(1, {wake[0], POLLIN, 0});
      std::vector<Peer*> polled;
      {
        std::lock_guard lock(mutex);
        if (stopping) return;
        const Clock::time_point now = Clock::now();
        if (leaving && !leavingSince) leavingSince = now;
        // Nobody can be blamed for silence while this process itself did not run.
        const bool slept = now - last > options.silenceTimeout / 2;
        last = now;
        bool connected = false;
        for (Peer& peer : peers) {
          if (!peer.socket.open()) continue;
          if (slept) peer.heard = now;
          if (now - peer.heard > options.silenceTimeout) {
            drop(peer, "was silent for " + seconds(options.silenceTimeout));
            continue;
          }
          if (now - peer.spoken >= tick && peer.out.empty() && !peer.shutDown)
            post(peer, Header::kAlive, 0, std::make_shared<const Bytes>());
          flush(peer);
          if (leaving && peer.out.empty() && !peer.shutDown) {
            // Closing with unread heartbeats in the buffer would take back what was sent: say that nothing follows, and
            // read until the other end does the same.
            ::shutdown(peer.socket.fd(), SHUT_WR);
            peer.shutDown = true;
          }
          connected = true;
          entries.push_back({peer.socket.fd(), static_cast<short>(peer.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
          polled.push_back(&peer);
        }
        if (leavingSince && (!connected || now - *leavingSince > Milliseconds(3000))) return;
      }
      ::poll(entries.data(), entries.size(), static_cast<int>(leavingSince ? 50 : tick.count()));
      char ignored[64];
      while (::read(wake[0], ignored, sizeof ignored) > 0) {}
      std::lock_guard lock(mutex);
      for (size_t i = 0; i < polled.size(); ++i)
        if (entries[i + 1].revents != 0) receive(*polled[i]);
    }
  }
};

Group::Group(const GroupOptions& options) : connections_(std::make_unique<Connections>()) {
  connections_->options = options;
  connections_->peers.resize(options.size);
}
Group::~Group() = default;
int Group::rank() const { return connections_->options.rank; }
int Group::size() const { return connections_->options.size; }
void Group::fail(const std::string& code, const std::string& message) { connections_->fail(code, message); }
void Group::leave() { connections_->stop(true); }

// A group has no number that its ranks would have to agree on: one that was refused before it came here has not counted
// what the others have. Those that wait at the same time meet. Each leaves "HOST PORT TOKEN" under a key that all
// groups use in turn; the token is rank 0's, drawn for this group. In a store that outlives groups, what an earlier one
// has left is told by its token, or, if it is rank 0's, by nobody answering there with that token; it is read again
// until the new one stands there.
void Group::join() {
  const GroupOptions& options = connections_->options;
  const std::vector<Peer>& peers = connections_->peers;
  connections_->start();
  const Clock::time_point end = Clock::now() + options.joinTimeout;
  const auto until = [this](Clock::time_point time) -> Over {
    return [this, time] {
      connections_->check();
      return Clock::now() >= time;
    };
  };
  const Over over = until(end);
  const auto rankName = [](int64_t r) { return "rank " + std::to_string(r); };
  const std::string master = options.masterAddress + ":" + std::to_string(options.masterPort);
  std::string trouble;
  const auto missing = [&](const std::string& who) {
    return lost(who + " within " + seconds(options.joinTimeout) + "; they meet at " + master + trouble);
  };
  const auto checkSize = [&](const Greeting& other) {
    if (other.size != options.size)
      throw Error("RANKS_DIFFER", rankName(other.rank) + " expects " + std::to_string(other.size) + " ranks, " +
                                      rankName(options.rank) + " expects " + std::to_string(options.size));
  };

  // Rank 0 opens the store, the others knock until it is there.
  std::optional<Rendezvous> store;
  if (options.rank == 0 && !options.launcherStore)
    store.emplace(options.masterAddress, options.masterPort, options.prefix, /*serves=*/true);
  const auto knock = [&] {
    for (;; std::this_thread::sleep_for(Milliseconds(50))) {
      if (Connection door = tryConnect(options.masterAddress, options.masterPort, over); door.socket.open())
        return door;
      if (over()) throw missing("nobody answered");
    }
  };
  const auto keys = [&]() -> Rendezvous& {
    if (!store) store.emplace(knock().host, options.masterPort, options.prefix, /*serves=*/false);
    return *store;
  };
  // This rank listens at the address from which it reaches the master: the others reach it there.
  Address own = localEnd(knock().socket);
  (own.storage.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&own.storage)->sin6_port
                                     : reinterpret_cast<sockaddr_in*>(&own.storage)->sin_port) = 0;
  const std::string cannot = "cannot listen at " + numeric(own).first;
  Socket listener(newSocket(own.storage.ss_family));
  if (!listener.open() || ::bind(listener.fd(), own.get(), own.length) != 0 ||
      ::listen(listener.fd(), options.size) != 0)
    throw systemError(cannot);
  const auto [host, port] = numeric(localEnd(listener));

  uint64_t token = 0;
  const auto publish = [&, host = host, port = port] {
    keys().set(rankName(options.rank), host + " " + std::to_string(port) + " " + std::to_string(token));
  };
  if (options.rank == 0) {
    token = (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
    publish();
  }
  // Each rank calls those before it and is called by those after it.
  for (int r = 0; r < options.rank; ++r) {
    std::string at;  // where it does not answer
    for (;; std::this_thread::sleep_for(Milliseconds(20))) {
      try {
        const std::optional<std::string> left = keys().get(rankName(r));
        trouble.clear();
        std::istringstream words(left.value_or(""));
        std::string where;
        uint16_t callPort;
        uint64_t callToken;
        if (words >> where >> callPort >> callToken && (r == 0 || callToken == token)) {
          const Over outdated = [&] { return over() || keys().get(rankName(r)) != left; };
          Socket socket = tryConnect(where, callPort, outdated).socket;
          Greeting greeting{kMagic, callToken, options.rank, options.size}, answer{};
          if (socket.open() && sendAll(socket, &greeting, sizeof greeting, outdated) &&
              receiveAll(socket, &answer, sizeof answer, outdated) && answer.magic == kMagic &&
              answer.token == callToken && answer.rank == r) {
            checkSize(answer);
            token = callToken;
            if (r == 0) publish();
            connections_->add(r, std::move(socket), where);
            break;
          }
          at = " at " + where + " " + std::to_string(callPort);
        }
      } catch (const StoreError& error) {
        // Rank 0's is there while it joins; when it has failed, until the next time.
        if (options.launcherStore) throw;
        trouble = std::string("; ") + error.what();
        store.reset();
      }
      if (over()) throw missing(rankName(r) + (at.empty() ? " did not come" : at + " did not answer"));
    }
  }
  for (int waiting = options.size - 1 - options.rank; waiting > 0;) {
    if (!waitFor(listener.fd(), POLLIN, over)) {
      std::string names;
      for (int r = options.rank + 1; r < options.size; ++r)
        if (peers[r].name.empty()) names += (names.empty() ? "rank " : ", ") + std::to_string(r);
      throw missing(names + " did not come");
    }
    Address caller;
    caller.length = sizeof caller.storage;
    Socket socket(acceptFrom(listener.fd(), caller.get(), &caller.length));
    if (!socket.open()) {
      // It would be asked for again at once, and again.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        throw systemError("a rank that calls cannot be answered");
      continue;
    }
    Greeting greeting{}, answer{kMagic, token, options.rank, options.size};
    // A stranger that says nothing holds the others up for a second only.
    const Over patience = until(std::min(end, Clock::now() + Milliseconds(1000)));
    if (!receiveAll(socket, &greeting, sizeof greeting, patience) || greeting.magic != kMagic ||
        greeting.token != token)
      continue;
    const bool expected =
        greeting.rank > options.rank && greeting.rank < options.size && peers[greeting.rank].name.empty();
    if ((!expected && greeting.size == options.size) || !sendAll(socket, &answer, sizeof answer, patience)) continue;
    checkSize(greeting);
    connections_->add(static_cast<int>(greeting.rank), std::move(socket), numeric(caller).first);
    --waiting;
  }
  allGather({});  // the store may close once everyone has read it
}

void Group::check() { connections_->check(); }

std::vector<Bytes> Group::allGather(const Bytes& mine) {
  return connections_->exchange(
      std::vector<std::shared_ptr<const Bytes>>(static_cast<size_t>(size()), std::make_shared<const Bytes>(mine)));
}

namespace {

void checkSize(const Bytes& received, size_t expected) {
  if (received.size() != expected)
    throw Error("INTERNAL",
                "ranks exchange " + std::to_string(received.size()) + " and " + std::to_string(expected) + " bytes");
}

template <class T>
Bytes bytesOf(const T* values, size_t count) {
  const auto* from = reinterpret_cast<const uint8_t*>(values);
  return Bytes(from, from + count * sizeof(T));
}

}  // namespace

void Group::sum(double* values, size_t count) {
  const auto parts = allGather(bytesOf(values, count));
  std::fill(values, values + count, 0.0);
  std::vector<double> part(count);
  for (const Bytes& bytes : parts) {
    checkSize(bytes, count * sizeof(double));
    if (count > 0) std::memcpy(part.data(), bytes.data(), bytes.size());
    for (size_t i = 0; i < count; ++i) values[i] += part[i];
  }
}

void Group::sum(float* values, size_t count) {
  const size_t ranks = static_cast<size_t>(size()), own = static_cast<size_t>(rank());
  const auto begin = [&](size_t r) { return count * r / ranks; };
  std::vector<std::shared_ptr<const Bytes>> out;
  for (size_t r = 0; r < ranks; ++r)
    out.push_back(std::make_shared<const Bytes>(bytesOf(values + begin(r), begin(r + 1) - begin(r))));
  const auto parts = connections_->exchange(out);
  const size_t n = begin(own + 1) - begin(own);
  std::vector<double> total(n, 0.0);
  for (const Bytes& bytes : parts) {
    checkSize(bytes, n * sizeof(float));
    for (size_t i = 0; i < n; ++i) {
      float value;
      std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
      total[i] += value;
    }
  }
  const std::vector<float> rounded(total.begin(), total.end());
  const auto whole = allGather(bytesOf(rounded.data(), n));
  for (size_t r = 0; r < ranks; ++r) {
    const size_t bytes = (begin(r + 1) - begin(r)) * sizeof(float);
    checkSize(whole[r], bytes);
    if (bytes > 0) std::memcpy(values + begin(r), whole[r].data(), bytes);
  }
}

void Group::broadcast(void* data, size_t bytes) {
  const auto parts = allGather(rank() == 0 ? bytesOf(static_cast<const uint8_t*>(data), bytes) : Bytes());
  checkSize(parts[0], bytes);
  if (bytes > 0) std::memcpy(data, parts[0].data(), bytes);
}

}  // namespace ssn

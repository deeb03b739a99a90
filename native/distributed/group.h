// The processes ("ranks") that train one model together (docs/guides/several-processes.md). They find each other
// through libtorch's c10d::TCPStore, then talk over TCP connections of their own, each rank with every other.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ssn {

struct GroupOptions {
  int rank, size;
  std::string masterAddress;  // where rank 0 is
  uint16_t masterPort;
  // True if the launcher already serves a TCPStore there (torchrun does); otherwise rank 0 serves it.
  bool launcherStore = false;
  std::string prefix;  // of the keys in the store: the same for all ranks, also for groups that follow one another
  std::chrono::milliseconds joinTimeout;     // until all ranks are there
  std::chrono::milliseconds silenceTimeout;  // a rank from which nothing comes for so long has failed
};

// Collective calls (everything but fail) are made by all ranks in the same order, from one thread at a time. What they
// return has the same bits on every rank: sums are made once, in the order of the ranks. They throw
// Error("RANK_FAILED") when another rank has ended, fallen silent or called fail(), and Error("ABORTED") when
// cancelled.
class Group {
 public:
  using Bytes = std::vector<uint8_t>;

  explicit Group(const GroupOptions& options);
  ~Group();  // does not wait for anything to be sent; see leave()

  // Once, before everything else but fail(). Returns when all ranks are connected; throws Error("RANK_FAILED") if they
  // are not in time.
  void join();

  int rank() const;
  int size() const;

  std::vector<Bytes> allGather(const Bytes& mine);  // by rank
  void sum(double* values, size_t count);           // for few values: every rank sends all of them to all
  void sum(float* values, size_t count);     // for many: each rank adds up its part, in double, and sends it to all
  void broadcast(void* data, size_t bytes);  // from rank 0

  // Throws as a collective call would that had to wait, also when another rank has left.
  void check();

  // Tells the other ranks, whose collective calls fail from now on, as this one's and its join() do. From any thread,
  // without waiting.
  void fail(const std::string& code, const std::string& message);

  // Waits, three seconds at most, until the other ranks have what was sent, and disconnects.
  void leave();

 private:
  struct Connections;
  std::unique_ptr<Connections> connections_;
};

// For code that runs in one process or in many; without a group the argument itself comes back.
// The sum over all ranks, on the tensor's device and in its type; few values.
at::Tensor sumOverRanks(const at::Tensor& values, Group* group);

// Batch norm in training over the images of all ranks, differentiable; updates the running statistics. x: n x C x H x
// W, n may be 0 on some ranks. The gradients of weight and bias are this rank's share; that of x is whole.
at::Tensor batchNormOverRanks(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                              at::Tensor runningMean, at::Tensor runningVar, double momentum, double eps, Group& group);

}  // namespace ssn

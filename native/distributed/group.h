// The processes ("ranks") that train one model together (docs/guides/several-processes.md), over libtorch's c10d: they
// find each other through its TCPStore, and its ProcessGroupGloo connects every rank with every other.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "error.h"

namespace c10d {
class Store;
}

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

// Collective calls are made by all ranks in the same order, from one thread at a time, with tensors of the same type
// and size. What they return has the same bits on every rank: each part of a sum is made by one rank, in an order that
// does not depend on timing. They throw Error("RANK_FAILED") when another rank has ended, fallen silent or called
// fail(), and Error("ABORTED") when cancelled. A call that some rank has finished is finished by all, also if that rank
// fails right after it.
class Group {
 public:
  using Bytes = std::vector<uint8_t>;

  explicit Group(const GroupOptions& options);
  ~Group();  // disconnects at once
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // Once, before everything else but fail(). Returns when all ranks are connected; throws Error("RANK_FAILED") if they
  // are not in time.
  void join();

  int rank() const;
  int size() const;

  // Collective; on the CPU, contiguous.
  void sum(at::Tensor& values);                  // in place; float or double
  void sum(double* values, size_t count);        // the same
  void broadcast(at::Tensor& values);            // from rank 0, in place
  at::Tensor gather(const at::Tensor& mine);     // ranks x the shape of `mine`
  std::vector<Bytes> gather(const Bytes& mine);  // by rank; sizes may differ

  // Throws as a collective call would that had to wait.
  void check();

  // Tells the other ranks, whose collective calls fail from now on, as this one's and its join() do. From any thread,
  // without waiting.
  void fail(const std::string& code, const std::string& message);

  // Waits, three seconds at most, until the other ranks leave or have heard of a failure, and disconnects.
  void leave();

  // Disconnects at once and ends the group's thread.
  void disconnect();

  c10d::Store& store();  // with keys of this group alone; for other process groups of the same ranks

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

// Cooperative cancellation. A thread that runs long work installs a flag; the work calls throwIfCancelled() between
// pieces of at most a few hundred milliseconds.
#pragma once

#include <atomic>

#include "error.h"

namespace ssn {

inline thread_local const std::atomic<bool>* cancelFlag = nullptr;

class CancelScope {
 public:
  explicit CancelScope(const std::atomic<bool>* flag) : previous_(cancelFlag) { cancelFlag = flag; }
  ~CancelScope() { cancelFlag = previous_; }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  const std::atomic<bool>* previous_;
};

inline void throwIfCancelled() {
  if (cancelFlag != nullptr && cancelFlag->load(std::memory_order_relaxed))
    throw Error("ABORTED", "the operation was cancelled");
}

}  // namespace ssn

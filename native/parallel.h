// Shares independent pieces of work among the engine's threads.
#pragma once

#include <ATen/Parallel.h>

namespace ssn {

// Runs each item on one thread if that keeps all threads busy. Otherwise runs the items in turn, and the threads work
// inside the body (a parallel_for within a parallel_for runs on the calling thread alone).
template <class Body>
void forEachShared(int64_t count, Body&& body) {
  if (count >= at::get_num_threads()) {
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body(i);
    });
  } else {
    for (int64_t i = 0; i < count; ++i) body(i);
  }
}

}  // namespace ssn

// Memory of large tensors on the CPU. A training step needs the same few hundred MB each time. To give them back to the
// system and fault every page in again costs up to a quarter of the step (benchmarks/steps.ts), so freed blocks are
// kept: for the next allocation of about the same size or, on Linux, for a large one of any size, to which their pages
// move.
#pragma once

namespace ssn {

// Makes at::empty use the recycling allocator, in all threads of the process. Call it once, before the first tensor.
// Does nothing when SUPERSIMPLENET_PLAIN_ALLOCATOR is set, which is for benchmarks/steps.ts.
void installRecyclingAllocator();

// While one exists, large allocations of this thread are recycled. The blocks in use and those kept never exceed the
// most that was in use at once, so recycling does not raise the peak memory.
class RecyclingScope {
 public:
  RecyclingScope();
  ~RecyclingScope();
  RecyclingScope(const RecyclingScope&) = delete;
  RecyclingScope& operator=(const RecyclingScope&) = delete;
};

// A trainer holds one as long as it lives, and so does the making of a detector. When the last one goes, all kept
// blocks are freed.
class RecyclingUser {
 public:
  RecyclingUser();
  ~RecyclingUser();
  RecyclingUser(const RecyclingUser&) = delete;
  RecyclingUser& operator=(const RecyclingUser&) = delete;
};

}  // namespace ssn

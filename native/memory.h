// Recycles the memory of large tensors on the CPU. A training step needs the same few hundred MB each time. Handing
// them back to the operating system and faulting every page in again costs up to a quarter of the time, so freed memory
// is kept for the next allocation of about the same size.
#pragma once

namespace ssn {

// Installs the recycling allocator behind at::empty for the whole process. Call it once, before the first tensor.
void installRecyclingAllocator();

// While one exists, large allocations of this thread are recycled. Never more is kept than such allocations have taken
// up at their peak, so recycling does not raise a process's peak memory.
class RecyclingScope {
 public:
  RecyclingScope();
  ~RecyclingScope();
  RecyclingScope(const RecyclingScope&) = delete;
  RecyclingScope& operator=(const RecyclingScope&) = delete;
};

// A trainer, which works in scopes, holds one. When the last one goes, all kept memory is freed.
class RecyclingUser {
 public:
  RecyclingUser();
  ~RecyclingUser();
  RecyclingUser(const RecyclingUser&) = delete;
  RecyclingUser& operator=(const RecyclingUser&) = delete;
};

}  // namespace ssn

// Memory of large tensors on the CPU. A training step needs the same few hundred MB each time; handing them back to the
// operating system and faulting every page in again costs up to a quarter of the time. So what is freed is kept for the
// next allocation of about the same size.
#pragma once

namespace ssn {

// Puts the recycling allocator behind at::empty, for all threads of the process. Once, before the first tensor.
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

// Held by what works in scopes (a trainer): when the last one goes, everything kept is freed.
class RecyclingUser {
 public:
  RecyclingUser();
  ~RecyclingUser();
  RecyclingUser(const RecyclingUser&) = delete;
  RecyclingUser& operator=(const RecyclingUser&) = delete;
};

}  // namespace ssn

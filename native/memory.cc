#include "memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>
#include <unordered_map>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ssn {
namespace {

constexpr size_t kSmallest = 4 << 20;  // malloc keeps smaller blocks itself
constexpr size_t kPage = 4096;
#ifdef __linux__
constexpr size_t kUnit = 2 << 20;  // blocks are made of huge pages
#else
constexpr size_t kUnit = kPage;
#endif

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

#ifdef __linux__
char* fromSystem(size_t bytes) {
  char* start =
      static_cast<char*>(mmap(nullptr, bytes + kUnit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (start == MAP_FAILED) return nullptr;
  char* aligned = reinterpret_cast<char*>(rounded(reinterpret_cast<uintptr_t>(start), kUnit));
  if (aligned > start) munmap(start, aligned - start);
  if (aligned < start + kUnit) munmap(aligned + bytes, start + kUnit - aligned);
  madvise(aligned, bytes, MADV_HUGEPAGE);  // may fail: small pages work too
  return aligned;
}
void toSystem(char* block, size_t bytes) { munmap(block, bytes); }
// Moves one unit's pages into another block, where it takes the place of a unit that was never touched. One at a time,
// because a block is made of several mappings once units were moved into it.
bool move(char* from, char* to) {
  if (mremap(from, kUnit, kUnit, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED) return true;
  // The kernel may have given up after unmapping the place.
  void* again =
      mmap(to, kUnit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, /*fd=*/-1, /*offset=*/0);
  TORCH_CHECK(again != MAP_FAILED, "no memory");
  return false;
}
#else
char* fromSystem(size_t bytes) {
  void* block = nullptr;
  return posix_memalign(&block, kPage, bytes) == 0 ? static_cast<char*>(block) : nullptr;
}
void toSystem(char* block, size_t) { free(block); }
bool move(char*, char*) { return false; }
#endif

thread_local int scopes = 0;

class Recycler : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = scopes > 0 && bytes >= kSmallest ? take(rounded(bytes, kUnit)) : nullptr;
    if (data == nullptr) data = c10::alloc_cpu(bytes);  // throws the error that callers know
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  static Recycler& instance() {
    static Recycler* recycler = new Recycler;  // tensors outlive static destructors
    return *recycler;
  }

  void addUser() {
    const std::lock_guard lock(mutex_);
    ++users_;
  }
  void removeUser() {
    const std::lock_guard lock(mutex_);
    if (--users_ > 0) return;
    while (!free_.empty()) evict();
    peak_ = live_;
  }

 private:
  struct Block {
    char* data;
    size_t bytes;
  };

  static void release(void* data) {
    if (reinterpret_cast<uintptr_t>(data) % kPage != 0 || !instance().giveBack(data)) c10::free_cpu(data);
  }

  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it)
      if (it->bytes >= bytes && it->bytes <= bytes + bytes / 4 && (best == free_.end() || it->bytes <= best->bytes))
        best = it;
    Block block;
    if (best != free_.end()) {
      block = *best;
      kept_ -= block.bytes;
      free_.erase(best);
    } else {
      if (live_ + bytes > peak_) peak_ = live_ + bytes;
      block = {fromSystem(bytes), bytes};
      if (block.data == nullptr) return nullptr;
      // Pages that were in use need not be cleared.
      for (size_t filled = 0; filled < bytes && !free_.empty() && move(free_.front().data, block.data + filled);
           filled += kUnit) {
        Block& from = free_.front();
        kept_ -= kUnit;
        from = {from.data + kUnit, from.bytes - kUnit};
        if (from.bytes == 0) free_.pop_front();
      }
      while (!free_.empty() && live_ + kept_ + bytes > peak_) evict();
    }
    live_ += block.bytes;
    sizes_[block.data] = block.bytes;
    return block.data;
  }

  // Returns false for memory that this allocator did not hand out.
  bool giveBack(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(data);
    if (found == sizes_.end()) return false;
    const Block block{static_cast<char*>(data), found->second};
    sizes_.erase(found);
    live_ -= block.bytes;
    if (users_ == 0) {
      toSystem(block.data, block.bytes);
    } else {
      kept_ += block.bytes;
      free_.push_back(block);
    }
    return true;
  }

  void evict() {  // the block that was freed first
    kept_ -= free_.front().bytes;
    toSystem(free_.front().data, free_.front().bytes);
    free_.pop_front();
  }

  std::mutex mutex_;
  std::list<Block> free_;  // oldest first
  std::unordered_map<void*, size_t> sizes_;
  size_t live_ = 0, kept_ = 0, peak_ = 0;
  int users_ = 0;
};

}  // namespace

void installRecyclingAllocator() {
  if (std::getenv("SUPERSIMPLENET_PLAIN_ALLOCATOR") == nullptr) c10::SetCPUAllocator(&Recycler::instance());
}

RecyclingScope::RecyclingScope() { ++scopes; }
RecyclingScope::~RecyclingScope() { --scopes; }

RecyclingUser::RecyclingUser() { Recycler::instance().addUser(); }
RecyclingUser::~RecyclingUser() { Recycler::instance().removeUser(); }

}  // namespace ssn

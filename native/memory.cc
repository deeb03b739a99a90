#include "memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

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

constexpr size_t kSmallest = 4 << 20;    // malloc keeps smaller blocks itself
constexpr size_t kPage = 4096;           // every block begins on a page
constexpr size_t kHuge = 2 << 20;        // a huge page
constexpr size_t kHugeFrom = 4 * kHuge;  // blocks of this size and more begin on a huge page

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

#ifdef __linux__
void* fromSystem(size_t bytes) {
  const size_t alignment = bytes >= kHugeFrom ? kHuge : 0;
  char* start =
      static_cast<char*>(mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (start == MAP_FAILED) return nullptr;
  if (alignment == 0) return start;
  char* aligned = reinterpret_cast<char*>(rounded(reinterpret_cast<uintptr_t>(start), alignment));
  if (aligned > start) munmap(start, aligned - start);
  if (aligned < start + alignment) munmap(aligned + bytes, start + alignment - aligned);
  madvise(aligned, bytes, MADV_HUGEPAGE);  // may fail: small pages work too
  return aligned;
}
void toSystem(void* block, size_t bytes) { munmap(block, bytes); }
#else
void* fromSystem(size_t bytes) {
  void* block = nullptr;
  return posix_memalign(&block, kPage, bytes) == 0 ? block : nullptr;
}
void toSystem(void* block, size_t) { free(block); }
#endif

thread_local int scopes = 0;

class Recycler : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = scopes > 0 && bytes >= kSmallest ? take(rounded(bytes, kPage)) : nullptr;
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
    void* data;
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
      while (!free_.empty() && live_ + kept_ + bytes > peak_) evict();
      block = {fromSystem(bytes), bytes};
      if (block.data == nullptr) return nullptr;
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
    const Block block{data, found->second};
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

#include "images/frame.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ssn {
namespace {

constexpr size_t kHugePage = 2 << 20;

struct Block {
  uint8_t* data;
  size_t bytes;
};

Block allocate(size_t bytes) {
  const size_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  auto* data = static_cast<uint8_t*>(std::aligned_alloc(kHugePage, whole));
  if (data == nullptr) throw std::bad_alloc();
#ifdef __linux__
  madvise(data, whole, MADV_HUGEPAGE);  // may fail: small pages work too
#endif
  return {data, whole};
}

class Spares {
 public:
  static Spares& instance() {
    static auto* spares = new Spares;  // images outlive static destructors
    return *spares;
  }

  // A block that is large enough, and not much too large.
  Block take(size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      for (auto it = spares_.begin(); it != spares_.end(); ++it) {
        if (it->bytes < bytes || it->bytes / 2 > bytes) continue;
        const Block block = *it;
        spares_.erase(it);
        return block;
      }
    }
    return allocate(bytes);
  }

  void giveBack(Block block) {
    const std::lock_guard lock(mutex_);
    spares_.push_back(block);
    size_t kept = 0;
    for (const Block& each : spares_) kept += each.bytes;
    while (spares_.size() > 2 || kept > size_t{256} << 20) {  // the oldest goes
      kept -= spares_.front().bytes;
      std::free(spares_.front().data);
      spares_.erase(spares_.begin());
    }
  }

 private:
  std::mutex mutex_;
  std::vector<Block> spares_;
};

constexpr size_t kRecycled = 4 << 20;  // malloc keeps smaller blocks itself

}  // namespace

std::shared_ptr<const uint8_t> copiedFrame(const uint8_t* image, size_t bytes) {
  std::shared_ptr<uint8_t> copy;
  if (bytes < kRecycled) {
    copy.reset(new uint8_t[bytes], std::default_delete<uint8_t[]>());
  } else {
    const Block block = Spares::instance().take(bytes);
    copy.reset(block.data, [block](uint8_t*) { Spares::instance().giveBack(block); });
  }
  std::memcpy(copy.get(), image, bytes);
  return copy;
}

}  // namespace ssn

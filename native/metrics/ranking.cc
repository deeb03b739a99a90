#include "metrics/ranking.h"

#include <array>
#include <cstddef>

#include "cancel.h"

namespace ssn {

void sortByScore(std::vector<RankedItem>& items) {
  constexpr int kDigits = 3;
  constexpr int kBits = 11;
  constexpr uint64_t kBuckets = uint64_t{1} << kBits;
  const auto digit = [](RankedItem item, int pass) { return (item >> (32 + kBits * pass)) & (kBuckets - 1); };

  std::array<std::vector<std::size_t>, kDigits> counts;
  for (auto& count : counts) count.assign(kBuckets, 0);
  for (const RankedItem item : items)
    for (int pass = 0; pass < kDigits; ++pass) ++counts[pass][digit(item, pass)];

  std::vector<RankedItem> sorted;
  for (int pass = 0; pass < kDigits; ++pass) {
    throwIfCancelled();
    std::vector<std::size_t>& next = counts[pass];
    std::size_t offset = 0;
    bool oneBucket = false;
    for (std::size_t& bucket : next) {
      oneBucket = oneBucket || bucket == items.size();
      const std::size_t size = bucket;
      bucket = offset;
      offset += size;
    }
    if (oneBucket) continue;
    sorted.resize(items.size());
    for (const RankedItem item : items) sorted[next[digit(item, pass)]++] = item;
    items.swap(sorted);
  }
}

}  // namespace ssn

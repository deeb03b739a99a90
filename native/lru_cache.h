// A few values by key; the least recently used one goes first.
#pragma once

#include <cstdint>
#include <list>
#include <tuple>
#include <utility>

namespace ssn {

template <class Key, class Value>
class LruCache {
 public:
  explicit LruCache(int64_t limit) : limit_(limit) {}

  // Makes the value if there is none for the key, and drops the least recently used one when there are too many. Needs
  // a limit above 0.
  Value& operator[](const Key& key) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->first != key) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entries_.front().second;
    }
    entries_.emplace_front(std::piecewise_construct, std::forward_as_tuple(key), std::forward_as_tuple());
    if (static_cast<int64_t>(entries_.size()) > limit_) entries_.pop_back();
    return entries_.front().second;
  }

  void clear() { entries_.clear(); }
  int64_t limit() const { return limit_; }

 private:
  int64_t limit_;
  std::list<std::pair<Key, Value>> entries_;  // most recently used first
};

}  // namespace ssn

// The frozen backbone's taps for one image and one flip never change: kept in memory up to a limit. What does not fit is
// computed again; results do not depend on what is cached, because features are always computed image by image.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace ssn {

class FeatureCache {
 public:
  explicit FeatureCache(int64_t limitBytes) : limit_(limitBytes) {}

  std::optional<std::vector<at::Tensor>> find(int64_t key) const {
    std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    return found == entries_.end() ? std::nullopt : std::optional(found->second);
  }

  bool contains(int64_t key) const {
    std::lock_guard lock(mutex_);
    return entries_.contains(key);
  }

  // Keeps the taps if they fit. Nothing is evicted: every image is used once per epoch, so any other policy only thrashes.
  void offer(int64_t key, const std::vector<at::Tensor>& taps) {
    int64_t bytes = 0;
    for (const at::Tensor& tap : taps) bytes += static_cast<int64_t>(tap.numel() * tap.element_size());
    std::lock_guard lock(mutex_);
    if (bytes_ + bytes > limit_ || entries_.contains(key)) return;
    bytes_ += bytes;
    entries_.emplace(key, taps);
  }

 private:
  mutable std::mutex mutex_;  // JavaScript asks what is cached while the engine thread trains
  int64_t limit_, bytes_ = 0;
  std::unordered_map<int64_t, std::vector<at::Tensor>> entries_;
};

}  // namespace ssn

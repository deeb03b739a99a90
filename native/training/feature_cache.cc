#include "training/feature_cache.h"

#include <ATen/ops/empty_strided.h>
#ifdef SSN_CUDA
#include <ATen/core/CachingHostAllocator.h>
#endif

#include <bit>

#include "error.h"
#include "runs_on_host.h"

namespace ssn {

FeatureCache::FeatureCache(int64_t limitBytes, int64_t hostBytes, at::ScalarType dtype, at::Device device,
                           std::unique_ptr<FeatureFile> file)
    : limit_(limitBytes),
      hostLimit_(runsOnHost(device) ? 0 : hostBytes),
      dtype_(dtype),
      device_(device),
      file_(std::move(file)) {}

std::optional<FeatureCache::LayerMaps> FeatureCache::find(int64_t key, const std::optional<Digest>& content) {
  Digest digest;
  {
    std::lock_guard lock(mutex_);
    if (const auto found = entries_.find(key); found != entries_.end()) {
      ++memory_;
      return widened(found->second);
    }
    if (const auto found = hostEntries_.find(key); found != hostEntries_.end()) {
      ++host_;
      return widened(found->second);
    }
    if (!file_) return std::nullopt;
    if (content) contents_[key] = *content;
    const auto known = contents_.find(key);
    if (known == contents_.end()) return std::nullopt;
    digest = known->second;
  }
  std::optional<LayerMaps> layerMaps = file_->find(digest);
  if (!layerMaps) return std::nullopt;
  for (at::Tensor& layerMap : *layerMaps) layerMap = layerMap.to(device_);
  std::lock_guard lock(mutex_);
  ++read_;
  keep(key, *layerMaps);
  return widened(*layerMaps);
}

bool FeatureCache::contains(int64_t key) const {
  std::lock_guard lock(mutex_);
  if (entries_.contains(key) || hostEntries_.contains(key)) return true;
  const auto known = contents_.find(key);
  return known != contents_.end() && file_->contains(known->second);
}

int64_t FeatureCache::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_ + hostBytes_;
}

FeatureCache::LayerMaps FeatureCache::narrowed(const LayerMaps& layerMaps) const {
  LayerMaps stored;
  for (const at::Tensor& layerMap : layerMaps) {
    stored.push_back(layerMap.to(dtype_));
    if (dtype_ == at::kHalf && !stored.back().isfinite().all().item<bool>())
      throw Error("INVALID_OPTION", "float16 cannot hold features above 65504, and this backbone has them.",
                  /*path=*/"", "float32Features");
  }
  return stored;
}

FeatureCache::LayerMaps FeatureCache::rounded(const LayerMaps& layerMaps) {
  const LayerMaps stored = narrowed(layerMaps);
  std::lock_guard lock(mutex_);
  ++computed_;
  return widened(stored);
}

FeatureCache::LayerMaps FeatureCache::offer(int64_t key, const LayerMaps& layerMaps) {
  const LayerMaps stored = narrowed(layerMaps);
  std::optional<Digest> content;
  {
    std::lock_guard lock(mutex_);
    ++computed_;
    keep(key, stored);
    if (const auto known = contents_.find(key); known != contents_.end()) content = known->second;
  }
  if (content) file_->offer(*content, stored);
  return widened(stored);
}

// Nothing is evicted: every image is used once per epoch, so any other policy only thrashes.
void FeatureCache::keep(int64_t key, const LayerMaps& layerMaps) {
  if (entries_.contains(key) || hostEntries_.contains(key)) return;
  int64_t bytes = 0, locked = 0;
  for (const at::Tensor& layerMap : layerMaps) {
    bytes += static_cast<int64_t>(layerMap.nbytes());
    locked += static_cast<int64_t>(std::bit_ceil(layerMap.nbytes()));  // as libtorch allocates page-locked memory
  }
  if (bytes_ + bytes <= limit_) {
    bytes_ += bytes;
    entries_.emplace(key, layerMaps);
  } else if (hostBytes_ + locked <= hostLimit_) {
    LayerMaps kept;
    locked_ = device_.is_cuda();
    try {
      for (const at::Tensor& layerMap : layerMaps)
        kept.push_back(at::empty_strided(layerMap.sizes(), layerMap.strides(),
                                         layerMap.options().device(at::kCPU).pinned_memory(device_.is_cuda())));
    } catch (const c10::Error& error) {
      hostLimit_ = hostBytes_;
      warnings_.push_back({"The machine gives no more page-locked memory for features after " +
                               std::to_string(hostBytes_ >> 20) + " MiB (" + error.what_without_backtrace() +
                               "): the others are computed in every epoch.",
                           "lessHostMemory"});
      return;
    }
    for (size_t l = 0; l < layerMaps.size(); ++l) kept[l].copy_(layerMaps[l]);
    hostBytes_ += locked;
    hostEntries_.emplace(key, std::move(kept));
  }
}

FeatureCache::~FeatureCache() {
  hostEntries_.clear();
#ifdef SSN_CUDA
  if (!locked_) return;
  try {
    at::getHostAllocator(at::kCUDA)->empty_cache();  // libtorch would keep it page-locked for ever
  } catch (...) {                                    // after an error of the GPU, which was reported
  }
#endif
}

FeatureCache::LayerMaps FeatureCache::widened(const LayerMaps& layerMaps) const {
  LayerMaps out;
  for (const at::Tensor& layerMap : layerMaps)
    out.push_back(layerMap.to(device_, /*non_blocking=*/true).to(at::kFloat));
  return out;
}

FeatureCache::Report FeatureCache::report() {
  std::vector<Warning> warnings = file_ ? file_->takeWarnings() : std::vector<Warning>();
  std::lock_guard lock(mutex_);
  warnings.insert(warnings.end(), warnings_.begin(), warnings_.end());
  warnings_.clear();
  return {memory_, host_, read_, computed_, std::move(warnings)};
}

}  // namespace ssn

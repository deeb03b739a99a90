// The frozen backbone's layer maps of one image and one flip never change. They are kept in memory up to a limit, and
// in a file for the next training if one is given. The others are computed again. Results do not depend on what is
// cached: features are always computed image by image and rounded to the cache's precision.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "training/feature_file.h"

namespace ssn {

class FeatureCache {
 public:
  using LayerMaps = std::vector<at::Tensor>;

  // Everything holds elements of type `dtype`: up to limitBytes on `device`; where that is not the CPU, up to hostBytes
  // more in page-locked memory of the host, from where a GPU fetches them without a detour; `file`, which may be null.
  FeatureCache(int64_t limitBytes, int64_t hostBytes, at::ScalarType dtype, at::Device device,
               std::unique_ptr<FeatureFile> file);

  ~FeatureCache();

  // Returns float32 on the device. `content`: the digest of the pixels, if they are at hand. Given once for a key, it
  // need not be given again.
  std::optional<LayerMaps> find(int64_t key, const std::optional<Digest>& content);

  bool contains(int64_t key) const;

  // Bytes in the memory of the device and of the host.
  int64_t bytes() const;

  // Takes computed layer maps, keeps them where they fit, and returns them as find() would. Throws INVALID_OPTION for
  // features that float16 cannot hold.
  LayerMaps offer(int64_t key, const LayerMaps& layerMaps);

  // As offer(), of what will not be asked for again.
  LayerMaps rounded(const LayerMaps& layerMaps);

  struct Report {
    int64_t memory, host, file, computed;  // where the layer maps of find() and offer() came from, since the beginning
    std::vector<Warning> warnings;         // since the last call
  };
  Report report();

 private:
  LayerMaps narrowed(const LayerMaps& layerMaps) const;
  void keep(int64_t key, const LayerMaps& layerMaps);
  LayerMaps widened(const LayerMaps& layerMaps) const;

  mutable std::mutex mutex_;  // JavaScript asks what is cached while the engine thread trains
  int64_t limit_, hostLimit_, bytes_ = 0, hostBytes_ = 0;
  at::ScalarType dtype_;
  at::Device device_;
  std::unique_ptr<FeatureFile> file_;
  std::unordered_map<int64_t, LayerMaps> entries_, hostEntries_;
  std::unordered_map<int64_t, Digest> contents_;
  std::vector<Warning> warnings_;
  bool locked_ = false;  // page-locked memory was asked for
  int64_t memory_ = 0, host_ = 0, read_ = 0, computed_ = 0;
};

}  // namespace ssn

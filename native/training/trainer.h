// The training loop's state: frozen backbone, feature cache, heads, optimiser. One call per step.
#pragma once

#include <ATen/core/Tensor.h>

#include <unordered_map>
#include <vector>

#include "backbone/resnet.h"
#include "distributed/group.h"
#include "heads/low_resolution.h"
#include "memory.h"
#include "network_config.h"
#include "training/adamw.h"
#include "training/feature_cache.h"
#include "training/readback.h"
#include "training/step.h"

namespace ssn {

struct TrainerConfig : EngineConfig {
  uint64_t seed;
  at::Tensor noiseStd;  // C, or 1 for all channels
  at::ScalarType precision = at::kFloat;  // of the operands of the wide products
  bool tf32 = false;                      // CUDA: float32 products may round their operands to TF32
  double perlinThreshold;
  int64_t featureCacheBytes;
  at::ScalarType featureCachePrecision;  // float or half
  struct File {
    std::string path;
    int64_t bytes;
    Digest identity;
  };
  std::optional<File> featureCacheFile;
  enum Synthetic {
    kPerlin,     // spec section 3
    kSimpleNet,  // the whole map of the second copy of the batch, the first stays clean
    kNone,
  } synthetic = kPerlin;
  bool overlap = false;
  bool focalMap = true;
  bool stopGradient;
  double gradientClip;  // 0: none
  double adaptorWeightDecay, headsWeightDecay;
};

struct StepItem {
  int64_t key;
  at::Tensor pixels;  // H x W x 3 uint8; undefined if the features are cached
  std::optional<Digest> content;  // SHA-256 of the pixels, if there is a cache file
};

struct StepLosses {
  double l1Normal, l1Anomalous, focalMap, focalScore, total, gradientNorm;
};

// Which of a batch's `total` images a step has: in a group the others are at other ranks, and it may have none.
struct Share {
  int64_t first, total;
};

struct LearningRates {
  double adaptor, heads;
};

// With a group, state(), restore(), cached() and cacheReport() concern this rank alone; step(), featureStd() and
// shareState() are collective. What they return and leave is the same on every rank.
class Trainer {
 public:
  Trainer(const TrainerConfig& config, const TensorMap& backbone, const TensorMap& heads, std::shared_ptr<Group> group = nullptr);

  struct Target {
    double label, segmented;
    at::Tensor mask, weight;  // H x W; undefined: 0 and 1 everywhere
  };
  void setTarget(int64_t key, Target target) { targets_[key] = std::move(target); }

  // Spec sections 3 to 5 for the given images, `share` of the batch. `index` counts steps over the whole training; with the
  // seed and an image's place in the batch it alone picks the random numbers. Throws Error("DIVERGED") if the loss or the gradient is not finite, and Error("FILE_CORRUPT") if
  // features without pixels have become unreadable in the cache file: nothing has happened then, and pixels help.
  // Returns the losses that have become known: of this step, or on a GPU of the one before, so that the GPU is never waited
  // for while it has nothing else to do. A step that diverged is told of when its losses would be.
  std::vector<StepLosses> step(int64_t index, const std::vector<StepItem>& items, Share share, LearningRates rates);

  // The losses not yet returned.
  std::vector<StepLosses> finishSteps();

  // Adds images to the statistics of F. Then the standard deviation of each channel, over the images of all ranks.
  void observe(const std::vector<StepItem>& items);
  std::vector<float> featureStd();
  void setNoiseStd(const at::Tensor& noiseStd);

  struct State {
    TensorMap heads, optimizer;
  };
  State state();
  void restore(const State& state);
  void shareState();  // rank 0's heads and optimiser to all

  // Safe to ask from another thread while a step runs.
  bool cached(int64_t key) const { return cache_.contains(key); }
  FeatureCache::Report cacheReport() { return cache_.report(); }
  FeatureShape shape() const { return shape_; }

  // Clips, then updates every parameter; returns the gradient norm before clipping (double, on the device).
  at::Tensor update(const std::vector<at::Tensor>& gradients, LearningRates rates);
  StepOutput forwardBackward(const StepInput& input);
  std::vector<at::Tensor> taps(const at::Tensor& normalised) const { return backbone_.forward(normalised); }
  Heads& heads() { return heads_; }

 private:
  std::vector<at::Tensor> tapsOf(const StepItem& item);
  at::Tensor anomalyMasks(int64_t index, int64_t images, Share share) const;  // 2b x 1 x H x W, CPU
  StepInput stepInput(int64_t index, const std::vector<StepItem>& items, Share share);
  static at::Tensor gradientNorm(const std::vector<at::Tensor>& gradients);
  void apply(const std::vector<at::Tensor>& gradients, const at::Tensor& norm, LearningRates rates);
  void sumGradients(std::vector<at::Tensor>& gradients);

  RecyclingUser recycling_;
  TrainerConfig config_;
  std::shared_ptr<Group> group_;
  Backbone backbone_;
  FeatureShape shape_;
  Heads heads_;
  LowResolutionGeometry geometry_;
  FeatureCache cache_;
  std::unordered_map<int64_t, Target> targets_;
  std::vector<AdamWState> optimizer_;
  int64_t updates_ = 0;
  std::optional<Readback> pending_;  // of the last step: four losses, gradient norm, sum of the running statistics
  std::vector<double> sum_, sumOfSquares_;
  double observed_ = 0;
};

}  // namespace ssn

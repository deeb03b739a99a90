// The training loop's state: frozen backbone, feature cache, heads, optimiser. One call per step.
#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <memory>
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
#include "training/step_runner.h"

namespace ssn {

namespace cuda {
class NcclSum;
}

struct TrainerConfig : EngineConfig {
  uint64_t seed;
  at::Tensor noiseStd;       // C, or 1 for all channels
  at::ScalarType precision;  // of the operands of the wide products
  bool tf32;                 // CUDA: float32 products may round their operands to TF32
  bool nccl;                 // CUDA, in a group whose ranks all say so: sum gradients by NCCL, if each has its own GPU
  double perlinThreshold;
  int64_t featureCacheBytes;
  int64_t featureCacheHostBytes;         // page-locked memory of the host, where the device is not the CPU
  at::ScalarType featureCachePrecision;  // float or half
  struct File {
    std::string path;
    int64_t bytes;
    Digest identity;
  };
  std::optional<File> featureCacheFile;
  AnomalyMaskOptions::Kind synthetic;
  bool overlap;   // noise on real defects too
  bool focalMap;  // the map's focal loss
  bool stopGradient;
  double gradientClip;  // 0: none
  double adaptorWeightDecay, headsWeightDecay;
  int64_t graphs;  // CUDA: for how many sizes of steps a graph is kept
};

struct StepItem {
  int64_t key;
  at::Tensor pixels;              // H x W x 3 uint8; undefined if the features are cached
  std::optional<Digest> content;  // SHA-256 of the pixels, if there is a cache file
};

struct StepLosses {
  double l1Normal, l1Anomalous, focalMap, focalScore, total, gradientNorm;
};

// Which of a batch's `total` images a step has: in a group the others are at other ranks, and it may have none.
struct Share {
  int64_t first, total;
};

// How many steps a GPU may have before it: enough to keep it busy, few enough for progress and cancellation to be near.
constexpr size_t kStepsAhead = 8;

struct LearningRates {
  double adaptor, heads;
};

// With a group, state(), restore(), cached() and cacheReport() concern this rank alone; step(), featureStd() and
// shareState() are collective. What they return and leave is the same on every rank.
class Trainer {
 public:
  Trainer(const TrainerConfig& config, const TensorMap& backbone, const TensorMap& heads,
          std::shared_ptr<Group> group = nullptr);

  ~Trainer();

  void setTarget(int64_t key, TrainingImage target);

  // Steps that will come, of images whose targets are set. Saves a GPU from being waited for in each of them; a CPU
  // needs none.
  struct Plan {
    int64_t index;
    std::vector<int64_t> keys;
    Share share;
  };
  void plan(const std::vector<Plan>& steps);

  // Spec sections 3 to 5 for the given images, `share` of the batch. `index` counts steps over the whole training; with
  // the seed and an image's place in the batch it alone picks the random numbers. Throws Error("DIVERGED") if the loss
  // or the gradient is not finite, and Error("FILE_CORRUPT") if features without pixels have become unreadable in the
  // cache file: nothing has happened then, and pixels help. Returns the losses that have become known since: of this
  // step, or on a GPU of steps before, which it lags behind by kStepsAhead at most. A step that diverged is told of
  // when its losses would be.
  std::vector<StepLosses> step(int64_t index, const std::vector<StepItem>& items, Share share, LearningRates rates);

  // The losses not yet returned; waits for them. Those before a step that diverged are returned first, and the next
  // call throws.
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
  // That weights and moments take, and cached features: those there are, because the limit may never be reached. What a
  // step takes besides is all trainers' together (memory.h). Likewise safe.
  int64_t bytes() const { return weightBytes_ + cache_.bytes(); }
  FeatureShape shape() const { return shape_; }

  // What follows is for tests. It returns tensors that may still be computed, on the trainer's own stream: while this
  // lives, the calling thread's work is on it too.
  std::unique_ptr<StepRunner::Use> use() const { return runner_->use(); }
  // Clips, then updates every parameter; returns the gradient norm before clipping (double, on the device).
  at::Tensor update(const std::vector<at::Tensor>& gradients, LearningRates rates);
  StepOutput forwardBackward(const StepInput& input);
  std::vector<at::Tensor> layerMaps(const at::Tensor& normalised) const { return backbone_.forward(normalised); }
  Heads& heads() { return heads_; }

 private:
  std::vector<at::Tensor> layerMapsOf(const StepItem& item);
  StepStreams streams(int64_t index, int64_t images, Share share) const;
  const TrainingImage& target(int64_t key) const;
  // The step itself, from what goes in to the values it leaves (kStepValues doubles).
  at::Tensor compute(const StepInput& input);
  std::vector<StepLosses> known(bool all);
  static at::Tensor gradientNorm(const std::vector<at::Tensor>& gradients);
  void prepareUpdate(LearningRates rates);
  void sumGradients(std::vector<at::Tensor>& gradients);

  RecyclingUser recycling_;
  TrainerConfig config_;
  std::shared_ptr<Group> group_;
  Backbone backbone_;
  FeatureShape shape_;
  Heads heads_;
  LowResolutionGeometry geometry_;
  FeatureCache cache_;
  StepRunner::Images targets_;
  std::vector<AdamWState> optimizer_;
  int64_t weightBytes_;
  int64_t updates_ = 0;
  struct Pending {
    Readback values;
    int64_t positions;  // that were planned to have noise; -1: not known
  };
  std::deque<Pending> pending_;
  std::shared_ptr<cuda::NcclSum> nccl_;  // of gradients, where every rank has a GPU of its own
  std::unique_ptr<StepRunner> runner_;
  std::vector<double> sum_, sumOfSquares_;
  double observed_ = 0;
};

}  // namespace ssn

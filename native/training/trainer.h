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
  at::ScalarType precision;  // of the backbone and of the operands of the wide products
  bool tf32;                 // CUDA: float32 products may round their operands to TF32
  bool nccl;                 // CUDA, in a group whose ranks all say so: sum gradients by NCCL, if each has its own GPU
  int64_t noiseVectors;      // that the positions of a step share; 0: each has its own
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
  AnomalyKind synthetic;
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
  bool once = false;              // will not be seen again: its features are not kept
};

struct StepLosses {
  double l1Normal, l1Anomalous, focalMap, focalScore, total, gradientNorm;
};

// Which of a batch's `total` images this rank has. In a group the others are at other ranks, and this one may have
// none.
struct Share {
  int64_t first, total;
};

// How many steps may be queued on a GPU: enough to keep it busy, few enough for prompt progress and cancellation.
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
  void clearTargets();

  // Announces the next steps, whose targets are set, so that the host need not wait for a GPU within each of them.
  struct Plan {
    int64_t index;
    std::vector<int64_t> keys;
    Share share;
  };
  void plan(const std::vector<Plan>& steps);

  // One step for the given images, `share` of the batch (docs/method.md, Synthetic anomalies, Losses, Training).
  // `index` counts steps over the whole training; with the seed and an image's place in the batch it alone picks the
  // random numbers. The noise has noiseScale times its standard deviation. Throws Error("DIVERGED") if the loss or the
  // gradient is not finite, and Error("FILE_CORRUPT") if the cache file can no longer be read for an image without
  // pixels: nothing has happened, try again with pixels.
  // Returns the losses known by now: on the CPU this step's, on a GPU those of earlier steps, at most kStepsAhead
  // behind. DIVERGED comes when the losses would.
  std::vector<StepLosses> step(int64_t index, const std::vector<StepItem>& items, Share share, LearningRates rates,
                               double noiseScale = 1);

  // Waits for the losses not yet returned. If a step diverged, the losses before it come first and the next call
  // throws.
  std::vector<StepLosses> finishSteps();

  // Adds images to the statistics of F. featureStd() gives each channel's standard deviation over all ranks' images.
  void observe(const std::vector<StepItem>& items);
  std::vector<float> featureStd();
  void setNoiseStd(const at::Tensor& noiseStd);

  // The score logits that the heads of now give images, as a detector with these heads does.
  std::vector<float> scores(const std::vector<StepItem>& items);

  struct State {
    TensorMap heads, optimizer;
  };
  State state();
  void restore(const State& state);
  void shareState();  // rank 0's heads and optimiser to all

  // Safe to call from another thread while a step runs.
  bool cached(int64_t key) const { return cache_.contains(key); }
  FeatureCache::Report cacheReport() { return cache_.report(); }
  // Bytes of weights, moments and the features cached so far (the limit may never be reached). All
  // trainers share the other memory of steps (memory.h). Also safe to call from another thread.
  int64_t bytes() const { return weightBytes_ + cache_.bytes(); }
  FeatureShape shape() const { return shape_; }

  // The rest is for tests. The tensors that it returns may still be in work on the steps' own stream; while this lives,
  // the calling thread uses that stream too.
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
  // The step itself: from its input to kStepValues doubles.
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
  std::shared_ptr<cuda::NcclSum> nccl_;  // sums gradients, where every rank has a GPU of its own
  std::unique_ptr<StepRunner> runner_;
  std::vector<double> sum_, sumOfSquares_;
  double observed_ = 0;
};

}  // namespace ssn

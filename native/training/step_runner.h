// How a training step runs on its device: HostStep on the CPU, DeviceStep elsewhere. Both give the trainer's work the
// same input and make the same update; they differ in where the input lies and in whether the host waits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "anomalies/masks.h"
#include "backbone/resnet.h"
#include "training/adamw.h"
#include "training/step.h"

namespace ssn {

// What one image, in one of its flips, is trained towards.
struct TrainingImage {
  double label, segmented;
  at::Tensor mask, weight;  // H x W, CPU; undefined: 0 and 1 everywhere
};

// How many values a step leaves: four losses, gradient norm, sum of the running statistics, active positions.
constexpr int64_t kStepValues = 7;

class StepRunner {
 public:
  using Images = std::unordered_map<int64_t, TrainingImage>;  // by key

  struct Config {
    std::vector<LayerShape> layers;
    AnomalyMaskOptions anomalies;
    bool overlap, lowResolution;
    at::Device device;
    int64_t noiseVectors;  // that the positions of a step share; 0: each has its own
    int64_t graphs;        // for how many sizes of steps a CUDA graph is kept; 0: none, or the steps wait for something
  };
  static std::unique_ptr<StepRunner> create(const Config& config);

  virtual ~StepRunner() = default;

  // While it lives, the calling thread's work on the device goes to the steps' own stream. Null: there is none.
  class Use {
   public:
    virtual ~Use() = default;
  };
  virtual std::unique_ptr<Use> use() const { return nullptr; }

  // Whether the host has a step's values without waiting, and can look at them before anything changes.
  virtual bool valuesAtHand() const = 0;

  virtual void imagesChanged() {}

  struct Step {
    StepStreams streams;
    std::vector<int64_t> keys;
    bool operator==(const Step& other) const {
      return keys == other.keys && streams.first == other.streams.first && streams.second == other.streams.second;
    }
  };
  // Steps that will come. Replaces what was planned before.
  virtual void plan(const std::vector<Step>& /*steps*/, const Images& /*images*/) {}

  struct Result {
    at::Tensor values;       // kStepValues doubles; they stay until the next step
    int64_t positions = -1;  // that were planned to have noise; -1: not known
  };
  using Work = std::function<at::Tensor(const StepInput&)>;
  // Runs `work`, which returns kStepValues doubles. layerMaps: 1 x C_l x h_l x w_l for each image and layer, on the
  // device. noiseStd: C, on the device; the noise has noiseScale times it.
  virtual Result run(const Step& step, const Images& images, const std::vector<std::vector<at::Tensor>>& layerMaps,
                     const at::Tensor& noiseStd, float noiseScale, const Work& work) = 0;

  // The rates of the next update. Before run(), because a graph finds them in the device's memory.
  virtual void prepareUpdate(const AdamWRates& adaptor, const AdamWRates& heads,
                             const std::vector<Heads::Named>& parameters, std::vector<AdamWState>& optimizer) = 0;
  // One AdamW step of every parameter. norm: of all gradients (double, on the device), at most `clip` of it is used; 0
  // does not clip.
  virtual void update(const std::vector<Heads::Named>& parameters, const std::vector<at::Tensor>& gradients,
                      std::vector<AdamWState>& optimizer, const at::Tensor& norm, double clip) const = 0;

  // Waits for the steps: call it before moving anything that they read or write.
  virtual void settle() {}
};

}  // namespace ssn

// A training step on another device than the CPU. All that a step reads and writes lies at the same addresses each
// time, so that a CUDA graph can repeat it: the host fills in features, numbers and rows, and waits for nothing.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "anomalies/masks.h"
#include "features/features.h"
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

class DeviceStep {
 public:
  using Images = std::unordered_map<int64_t, TrainingImage>;  // by key

  // graphs: for how many sizes of steps a CUDA graph is kept; 0: none.
  DeviceStep(const std::vector<TapShape>& taps, const AnomalyMaskOptions& anomalies, bool overlap, bool lowResolution,
             at::Device device, int64_t graphs);
  ~DeviceStep();

  // While one lives, the calling thread's work on the device goes to the trainer's own stream.
  class Use {
   public:
    explicit Use(const DeviceStep* step);  // null: nothing
    ~Use();

   private:
    struct Guard;
    std::unique_ptr<Guard> guard_;
  };

  // `images` has changed.
  void imagesChanged() { stale_ = true; }

  struct Plan {
    StepStreams streams;
    std::vector<int64_t> keys;
    bool operator==(const Plan& other) const {
      return keys == other.keys && streams.first == other.streams.first && streams.second == other.streams.second;
    }
  };
  // Finds out how many positions of steps will have noise, by waiting for the device once. Replaces what was planned
  // before. A step that was not planned is waited for when it begins.
  void plan(const std::vector<Plan>& steps, const Images& images);

  // The next step: features (1 x C_l x h_l x w_l for each image and tap, on the device), targets and random streams.
  void begin(const Plan& step, const Images& images, const std::vector<std::vector<at::Tensor>>& taps);
  void setRates(const AdamWRates& adaptor, const AdamWRates& heads);

  // What begin() and setRates() have filled in.
  StepInput input(const at::Tensor& noiseStd) const;
  int64_t positions() const { return positions_; }  // that have noise
  at::Tensor adaptorRates() const { return rates_.slice(0, 0, 3); }
  at::Tensor headsRates() const { return rates_.slice(0, 3, 6); }

  // Runs `work`, which returns kStepValues doubles, as a graph if `repeatable`. The values stay until the next call.
  const at::Tensor& run(bool repeatable, const std::function<at::Tensor()>& work);

  // Before anything that steps read or write is put elsewhere: waits for them and forgets the graphs.
  void settle();

 private:
  struct Repeated;

  void prepareImages(const Images& images);
  void reserve(int64_t images, int64_t capacity);
  std::vector<int64_t> rowsOf(const std::vector<int64_t>& keys) const;
  std::vector<int64_t> countPositions(const std::vector<Plan>& steps) const;
  int64_t capacityOf(int64_t positions, int64_t images) const;

  std::vector<TapShape> shapes_;
  AnomalyMaskOptions anomalies_;
  bool overlap_, lowResolution_;
  at::Device device_;
  std::unique_ptr<Repeated> repeated_;  // stream and graphs, where the device is a GPU

  // Masks of the images that have one: rows x HW, uint8. Row 0 stands for the others.
  bool stale_ = true, weighted_ = false;  // weighted_: some image has a weight
  at::Tensor masks_;
  std::unordered_map<int64_t, int64_t> rows_;  // by key

  struct Planned {
    Plan step;
    int64_t positions;
  };
  std::unordered_map<int64_t, Planned> planned_;  // by number of the step
  int64_t reserved_ = 0, images_ = 0, positions_ = 0, capacity_ = 0;
  StepStreams streams_{};
  std::vector<at::Tensor> taps_;             // reserved x h_l x w_l x C_l
  at::Tensor integers_, numbers_, weights_;  // step, then rows; labels, then whether segmented; reserved x HW
  at::Tensor rowSpace_, noiseSpace_;         // of StepInput
  at::Tensor rates_, values_;                // double
};

}  // namespace ssn

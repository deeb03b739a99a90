// A training step on another device than the CPU. All that a step reads and writes lies at the same addresses each
// time, so that a CUDA graph can repeat it: the host fills in features, numbers and rows, and waits for nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "training/step_runner.h"

namespace ssn {

class DeviceStep final : public StepRunner {
 public:
  explicit DeviceStep(const Config& config);
  ~DeviceStep() override;

  std::unique_ptr<Use> use() const override;
  bool valuesAtHand() const override { return false; }
  void imagesChanged() override { stale_ = true; }
  // Finds out how many positions of steps will have noise, by waiting for the device once. A step that was not planned
  // is waited for when it begins.
  void plan(const std::vector<Step>& steps, const Images& images) override;
  Result run(const Step& step, const Images& images, const std::vector<std::vector<at::Tensor>>& layerMaps,
             const at::Tensor& noiseStd, float noiseScale, const Work& work) override;
  void prepareUpdate(const AdamWRates& adaptor, const AdamWRates& heads, const std::vector<Heads::Named>& parameters,
                     std::vector<AdamWState>& optimizer) override;
  void update(const std::vector<Heads::Named>& parameters, const std::vector<at::Tensor>& gradients,
              std::vector<AdamWState>& optimizer, const at::Tensor& norm, double clip) const override;
  // Forgets the graphs, too.
  void settle() override;

 private:
  struct Repeated;
  struct StreamUse;

  // Fills in features (1 x C_l x h_l x w_l for each image and layer), targets and random streams.
  void begin(const Step& step, const Images& images, const std::vector<std::vector<at::Tensor>>& layerMaps,
             float noiseScale);
  // What begin() has filled in.
  StepInput input(const at::Tensor& noiseStd) const;
  void prepareImages(const Images& images);
  void reserve(int64_t images, int64_t capacity);
  std::vector<int64_t> rowsOf(const std::vector<int64_t>& keys) const;
  std::vector<int64_t> countPositions(const std::vector<Step>& steps) const;
  int64_t capacityOf(int64_t positions, int64_t images) const;

  Config config_;
  std::unique_ptr<Repeated> repeated_;  // stream and graphs, where the device is a GPU

  // Masks of the images that have one: rows x HW, uint8. Row 0 is empty: for images without a mask.
  bool stale_ = true, weighted_ = false;  // weighted_: some image has a weight
  at::Tensor masks_;
  std::unordered_map<int64_t, int64_t> rows_;  // by key

  struct Planned {
    Step step;
    int64_t positions;
  };
  std::unordered_map<int64_t, Planned> planned_;  // by number of the step
  int64_t reserved_ = 0, images_ = 0, positions_ = 0, capacity_ = 0;
  StepStreams streams_{};
  std::vector<at::Tensor> layerMaps_;  // reserved x h_l x w_l x C_l
  // Step, then rows; the noise's scale, labels, then whether segmented; reserved x HW.
  at::Tensor integers_, numbers_, weights_;
  at::Tensor rowSpace_, noiseSpace_;  // of StepInput
  at::Tensor rates_, values_;         // double
};

}  // namespace ssn

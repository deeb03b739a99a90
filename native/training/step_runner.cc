#include "training/step_runner.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "anomalies/latent_noise.h"
#include "runs_on_host.h"
#include "training/device_step.h"

namespace ssn {
namespace {

class HostStep final : public StepRunner {
 public:
  explicit HostStep(const Config& config) : config_(config) {}

  bool valuesAtHand() const override { return true; }

  Result run(const Step& step, const Images& images, const std::vector<std::vector<at::Tensor>>& layerMaps,
             const at::Tensor& noiseStd, float noiseScale, const Work& work) override {
    return {work(input(step, images, layerMaps, noiseStd, noiseScale))};
  }

  void prepareUpdate(const AdamWRates& adaptor, const AdamWRates& heads, const std::vector<Heads::Named>&,
                     std::vector<AdamWState>&) override {
    adaptorRates_ = adaptor;
    headsRates_ = heads;
  }

  void update(const std::vector<Heads::Named>& parameters, const std::vector<at::Tensor>& gradients,
              std::vector<AdamWState>& optimizer, const at::Tensor& norm, double clip) const override {
    at::Tensor scale;
    if (clip > 0) scale = at::clamp_max(clip / (norm + 1e-6), 1.0);
    for (size_t i = 0; i < parameters.size(); ++i)
      adamwStep(*parameters[i].tensor, scale.defined() ? gradients[i] * scale : gradients[i], optimizer[i],
                parameters[i].group == Heads::Named::kAdaptor ? adaptorRates_ : headsRates_);
  }

 private:
  StepInput input(const Step& step, const Images& images, const std::vector<std::vector<at::Tensor>>& layerMaps,
                  const at::Tensor& noiseStd, float noiseScale) const {
    const int64_t b = step.streams.images, h = config_.anomalies.height, w = config_.anomalies.width;
    StepInput input;
    for (size_t l = 0; l < config_.layers.size(); ++l) {
      const LayerShape& shape = config_.layers[l];
      std::vector<at::Tensor> layerMap;
      for (const auto& image : layerMaps) layerMap.push_back(image[l]);
      input.layerMaps.push_back(b > 0 ? at::cat(layerMap, 0)
                                      : at::empty({0, shape.channels, shape.height, shape.width}, at::kFloat));
    }
    input.mask = at::zeros({b, 1, h, w});
    input.weight = at::ones({b, 1, h, w});
    input.label = at::zeros({b});
    input.segmented = at::ones({b});
    for (int64_t i = 0; i < b; ++i) {
      const TrainingImage& image = images.at(step.keys[static_cast<size_t>(i)]);
      input.label.data_ptr<float>()[i] = static_cast<float>(image.label);
      input.segmented.data_ptr<float>()[i] = static_cast<float>(image.segmented);
      if (image.mask.defined()) input.mask[i][0].copy_(image.mask);
      if (image.weight.defined()) input.weight[i][0].copy_(image.weight);
    }
    input.perlinMask = anomalyMasks(config_.anomalies, step.streams, config_.device);
    input.noise = [streams = step.streams, std = noiseStd * noiseScale, plane = h * w,
                   vectors = config_.noiseVectors](const at::Tensor& cells) {
      const int64_t channels = std.size(0);
      if (vectors > 0) return sharedNoise(streams, plane, cells, std, at::empty({vectors, channels}));
      const at::Tensor out = at::empty({cells.numel(), channels});
      latentNoise(streams, plane, cells, std, out);
      return Noise{out, {}, {}};
    };
    return input;
  }

  Config config_;
  AdamWRates adaptorRates_{1, 0, 0}, headsRates_{1, 0, 0};
};

}  // namespace

std::unique_ptr<StepRunner> StepRunner::create(const Config& config) {
  if (runsOnHost(config.device)) return std::make_unique<HostStep>(config);
  return std::make_unique<DeviceStep>(config);
}

}  // namespace ssn

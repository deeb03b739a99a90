#include "heads/parameters.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <map>

#include "anomalies/initialise.h"
#include "error.h"

namespace ssn {
namespace {

std::map<std::string, std::vector<int64_t>> shapes(int64_t c) {
  const int64_t s = kSegmentationHidden, k = kClassificationHidden;
  std::map<std::string, std::vector<int64_t>> out = {
      {"feature_adaptor.projection.weight", {c, c, 1, 1}},
      {"feature_adaptor.projection.bias", {c}},
      {"discriminator.seg.0.weight", {s, c, 1, 1}},
      {"discriminator.seg.0.bias", {s}},
      {"discriminator.seg.3.weight", {1, s, 1, 1}},
      {"discriminator.dec_head.0.weight", {k, c + 1, kTapSide, kTapSide}},
      {"discriminator.dec_head.0.bias", {k}},
      {"discriminator.fc_score.weight", {1, 2 * k + 2}},
      {"discriminator.fc_score.bias", {1}},
  };
  for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
    out[std::string("discriminator.seg.1.") + part] = {s};
    out[std::string("discriminator.dec_head.1.") + part] = {k};
  }
  return out;
}

}  // namespace

std::vector<Heads::Named> Heads::named() {
  return {
      {"feature_adaptor.projection.weight", &adaptorWeight, Named::kAdaptor},
      {"feature_adaptor.projection.bias", &adaptorBias, Named::kAdaptor},
      {"discriminator.seg.0.weight", &segWeight, Named::kHead},
      {"discriminator.seg.0.bias", &segBias, Named::kHead},
      {"discriminator.seg.1.weight", &segNorm.weight, Named::kHead},
      {"discriminator.seg.1.bias", &segNorm.bias, Named::kHead},
      {"discriminator.seg.3.weight", &segOut, Named::kHead},
      {"discriminator.dec_head.0.weight", &clsWeight, Named::kHead},
      {"discriminator.dec_head.0.bias", &clsBias, Named::kHead},
      {"discriminator.dec_head.1.weight", &clsNorm.weight, Named::kHead},
      {"discriminator.dec_head.1.bias", &clsNorm.bias, Named::kHead},
      {"discriminator.fc_score.weight", &fcWeight, Named::kHead},
      {"discriminator.fc_score.bias", &fcBias, Named::kHead},
      {"discriminator.seg.1.running_mean", &segNorm.runningMean, Named::kBuffer},
      {"discriminator.seg.1.running_var", &segNorm.runningVar, Named::kBuffer},
      {"discriminator.dec_head.1.running_mean", &clsNorm.runningMean, Named::kBuffer},
      {"discriminator.dec_head.1.running_var", &clsNorm.runningVar, Named::kBuffer},
  };
}

Heads headsFromTensors(const TensorMap& tensors, int64_t channels, at::Device device) {
  const auto expected = shapes(channels);
  Heads heads;
  for (const Heads::Named& entry : heads.named()) {
    const auto found = tensors.find(entry.name);
    if (found == tensors.end()) throw Error("WEIGHTS_INVALID", std::string("the model has no tensor '") + entry.name + "'");
    if (found->second.sizes() != at::IntArrayRef(expected.at(entry.name))) {
      throw Error("WEIGHTS_INVALID", std::string("tensor '") + entry.name + "' does not have the shape that " + std::to_string(channels) + " feature channels need");
    }
    *entry.tensor = found->second.to(at::TensorOptions().device(device).dtype(at::kFloat), /*non_blocking=*/false, /*copy=*/true).contiguous();
  }
  return heads;
}

TensorMap headsToTensors(Heads& heads) {
  TensorMap out;
  // Copies: training goes on changing its own.
  for (const Heads::Named& entry : heads.named()) out[entry.name] = entry.tensor->detach().cpu().clone();
  return out;
}

TensorMap randomHeads(int64_t channels, uint64_t seed) {
  TensorMap out;
  const auto all = shapes(channels);
  for (const auto& [name, shape] : all) {
    const bool running = name.find("running_") != std::string::npos;
    const bool norm = name.find(".1.") != std::string::npos;
    if (running || norm) {
      const bool one = name.ends_with("running_var") || name.ends_with("weight");
      out[name] = one ? at::ones(shape) : at::zeros(shape);
      continue;
    }
    const bool bias = name.ends_with("bias");
    const auto& weight = bias ? all.at(name.substr(0, name.size() - 4) + "weight") : shape;
    int64_t area = 1;
    for (size_t i = 2; i < weight.size(); ++i) area *= weight[i];
    const double fanIn = static_cast<double>(weight[1] * area), fanOut = static_cast<double>(weight[0] * area);
    out[name] = bias ? uniformTensor(seed, name, shape, 1.0 / std::sqrt(fanIn)) : normalTensor(seed, name, shape, std::sqrt(2.0 / (fanIn + fanOut)));
  }
  return out;
}

}  // namespace ssn

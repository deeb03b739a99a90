#include "heads/parameters.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <initializer_list>

#include "anomalies/initialise.h"
#include "error.h"

namespace ssn {

std::map<std::string, std::vector<int64_t>> headTensors(int64_t c, const HeadLayout& layout) {
  const int64_t s = kSegmentationHidden, k = kClassificationHidden, mapChannels = layout.mapInput ? 1 : 0;
  std::map<std::string, std::vector<int64_t>> out = {
      {"feature_adaptor.projection.weight", {c, c, 1, 1}}, {"feature_adaptor.projection.bias", {c}},
      {"discriminator.seg.0.weight", {s, c, 1, 1}},        {"discriminator.seg.0.bias", {s}},
      {"discriminator.seg.3.weight", {1, s, 1, 1}},
  };
  const auto norm = [&out](const std::string& name, int64_t size) {
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) out[name + part] = {size};
  };
  const auto block = [&](int index, int64_t inputs) {  // convolution, batch norm and ReLU are counted
    const std::string conv = "discriminator.dec_head." + std::to_string(3 * index);
    out[conv + ".weight"] = {k, inputs, kTapSide, kTapSide};
    out[conv + ".bias"] = {k};
    norm("discriminator.dec_head." + std::to_string(3 * index + 1), k);
  };
  norm("discriminator.seg.1", s);
  if (layout.classification == HeadLayout::kMapMax) return out;
  block(0, c + mapChannels);
  if (layout.classification == HeadLayout::kComplex) {
    block(1, k);
    block(2, k);
  }
  out["discriminator.fc_score.weight"] = {1, 2 * (k + mapChannels)};
  out["discriminator.fc_score.bias"] = {1};
  return out;
}

std::vector<Heads::Named> Heads::named() {
  std::vector<Named> out = {
      {"feature_adaptor.projection.weight", &adaptorWeight, Named::kAdaptor},
      {"feature_adaptor.projection.bias", &adaptorBias, Named::kAdaptor},
      {"discriminator.seg.0.weight", &segWeight, Named::kHead},
      {"discriminator.seg.0.bias", &segBias, Named::kHead},
      {"discriminator.seg.1.weight", &segNorm.weight, Named::kHead},
      {"discriminator.seg.1.bias", &segNorm.bias, Named::kHead},
      {"discriminator.seg.3.weight", &segOut, Named::kHead},
  };
  std::vector<Named> buffers = {
      {"discriminator.seg.1.running_mean", &segNorm.runningMean, Named::kBuffer},
      {"discriminator.seg.1.running_var", &segNorm.runningVar, Named::kBuffer},
  };
  const auto append = [](std::vector<Named>& to, std::initializer_list<Named> entries) {
    to.insert(to.end(), entries);
  };
  if (layout.classification != HeadLayout::kMapMax) {
    append(out, {
                    {"discriminator.dec_head.0.weight", &clsWeight, Named::kHead},
                    {"discriminator.dec_head.0.bias", &clsBias, Named::kHead},
                    {"discriminator.dec_head.1.weight", &clsNorm.weight, Named::kHead},
                    {"discriminator.dec_head.1.bias", &clsNorm.bias, Named::kHead},
                });
    append(buffers, {
                        {"discriminator.dec_head.1.running_mean", &clsNorm.runningMean, Named::kBuffer},
                        {"discriminator.dec_head.1.running_var", &clsNorm.runningVar, Named::kBuffer},
                    });
    if (layout.classification == HeadLayout::kComplex) {
      append(out, {
                      {"discriminator.dec_head.3.weight", &deeper[0].weight, Named::kHead},
                      {"discriminator.dec_head.3.bias", &deeper[0].bias, Named::kHead},
                      {"discriminator.dec_head.4.weight", &deeper[0].norm.weight, Named::kHead},
                      {"discriminator.dec_head.4.bias", &deeper[0].norm.bias, Named::kHead},
                      {"discriminator.dec_head.6.weight", &deeper[1].weight, Named::kHead},
                      {"discriminator.dec_head.6.bias", &deeper[1].bias, Named::kHead},
                      {"discriminator.dec_head.7.weight", &deeper[1].norm.weight, Named::kHead},
                      {"discriminator.dec_head.7.bias", &deeper[1].norm.bias, Named::kHead},
                  });
      append(buffers, {
                          {"discriminator.dec_head.4.running_mean", &deeper[0].norm.runningMean, Named::kBuffer},
                          {"discriminator.dec_head.4.running_var", &deeper[0].norm.runningVar, Named::kBuffer},
                          {"discriminator.dec_head.7.running_mean", &deeper[1].norm.runningMean, Named::kBuffer},
                          {"discriminator.dec_head.7.running_var", &deeper[1].norm.runningVar, Named::kBuffer},
                      });
    }
    append(out, {
                    {"discriminator.fc_score.weight", &fcWeight, Named::kHead},
                    {"discriminator.fc_score.bias", &fcBias, Named::kHead},
                });
  }
  out.insert(out.end(), buffers.begin(), buffers.end());
  return out;
}

Heads headsFromTensors(const TensorMap& tensors, int64_t channels, const HeadLayout& layout, at::Device device) {
  const auto expected = headTensors(channels, layout);
  Heads heads;
  heads.layout = layout;
  for (const Heads::Named& entry : heads.named()) {
    const auto found = tensors.find(entry.name);
    if (found == tensors.end())
      throw Error("WEIGHTS_INVALID", std::string("the model has no tensor '") + entry.name + "'");
    if (found->second.sizes() != at::IntArrayRef(expected.at(entry.name))) {
      throw Error("WEIGHTS_INVALID", std::string("tensor '") + entry.name + "' does not have the shape that " +
                                         std::to_string(channels) + " feature channels need");
    }
    *entry.tensor =
        found->second.to(at::TensorOptions().device(device).dtype(at::kFloat), /*non_blocking=*/false, /*copy=*/true)
            .contiguous();
  }
  return heads;
}

TensorMap headsToTensors(Heads& heads) {
  TensorMap out;
  // Copies: training goes on changing its own.
  for (const Heads::Named& entry : heads.named()) out[entry.name] = entry.tensor->detach().cpu().clone();
  return out;
}

TensorMap randomHeads(int64_t channels, const HeadLayout& layout, uint64_t seed) {
  TensorMap out;
  const auto all = headTensors(channels, layout);
  for (const auto& [name, shape] : all) {
    const auto& weight = all.at(name.substr(0, name.rfind('.')) + ".weight");
    if (weight.size() == 1) {  // of a batch norm
      const bool one = name.ends_with("running_var") || name.ends_with("weight");
      out[name] = one ? at::ones(shape) : at::zeros(shape);
      continue;
    }
    int64_t area = 1;
    for (size_t i = 2; i < weight.size(); ++i) area *= weight[i];
    const double fanIn = static_cast<double>(weight[1] * area), fanOut = static_cast<double>(weight[0] * area);
    out[name] = name.ends_with("bias") ? uniformTensor(seed, name, shape, 1.0 / std::sqrt(fanIn))
                                       : normalTensor(seed, name, shape, std::sqrt(2.0 / (fanIn + fanOut)));
  }
  return out;
}

}  // namespace ssn

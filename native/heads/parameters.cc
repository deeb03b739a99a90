#include "heads/parameters.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <cmath>

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
  std::vector<Named> out, buffers;
  const auto affine = [&](const std::string& name, at::Tensor& weight, at::Tensor& bias, Named::Kind group) {
    out.push_back({name + ".weight", &weight, group});
    out.push_back({name + ".bias", &bias, group});
  };
  const auto norm = [&](const std::string& name, BatchNorm& of) {
    affine(name, of.weight, of.bias, Named::kHead);
    buffers.push_back({name + ".running_mean", &of.runningMean, Named::kBuffer});
    buffers.push_back({name + ".running_var", &of.runningVar, Named::kBuffer});
  };
  const auto block = [&](int index, at::Tensor& weight, at::Tensor& bias, BatchNorm& of) {
    affine("discriminator.dec_head." + std::to_string(3 * index), weight, bias, Named::kHead);
    norm("discriminator.dec_head." + std::to_string(3 * index + 1), of);
  };
  affine("feature_adaptor.projection", adaptorWeight, adaptorBias, Named::kAdaptor);
  affine("discriminator.seg.0", segWeight, segBias, Named::kHead);
  norm("discriminator.seg.1", segNorm);
  out.push_back({"discriminator.seg.3.weight", &segOut, Named::kHead});
  if (layout.classification != HeadLayout::kMapMax) {
    block(0, clsWeight, clsBias, clsNorm);
    if (layout.classification == HeadLayout::kComplex)
      for (int i = 0; i < 2; ++i) block(i + 1, deeper[i].weight, deeper[i].bias, deeper[i].norm);
    affine("discriminator.fc_score", fcWeight, fcBias, Named::kHead);
  }
  out.insert(out.end(), buffers.begin(), buffers.end());
  return out;
}

Heads headsFromTensors(const TensorMap& tensors, int64_t channels, const HeadLayout& layout, at::Device device,
                       bool copy) {
  const auto expected = headTensors(channels, layout);
  Heads heads;
  heads.layout = layout;
  for (const Heads::Named& entry : heads.named()) {
    const auto found = tensors.find(entry.name);
    if (found == tensors.end()) throw Error("WEIGHTS_INVALID", "the model has no tensor '" + entry.name + "'");
    if (found->second.sizes() != at::IntArrayRef(expected.at(entry.name))) {
      throw Error("WEIGHTS_INVALID", "tensor '" + entry.name + "' does not have the shape that " +
                                         std::to_string(channels) + " feature channels need");
    }
    *entry.tensor = found->second.to(at::TensorOptions().device(device).dtype(at::kFloat), /*non_blocking=*/false, copy)
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

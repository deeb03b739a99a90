#include "backbone/resnet.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

#include "anomalies/initialise.h"
#include "cancel.h"
#include "platform.h"

namespace ssn {
namespace {

constexpr double kBatchNormEps = 1e-5;

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> all = {
      {"wide_resnet50_2", true, {3, 4, 6}, 2}, {"wide_resnet101_2", true, {3, 4, 23}, 2},
      {"resnet50", true, {3, 4, 6}, 1},        {"resnet101", true, {3, 4, 23}, 1},
      {"resnet34", false, {3, 4, 6}, 1},       {"resnet18", false, {2, 2, 2}, 1},
  };
  return all;
}

// One convolution of the net and the batch norm behind it.
struct Layer {
  std::string conv, bn;
  int64_t out, in, kernel, stride;
  bool lastOfBranch;
};

struct BlockLayers {
  std::vector<Layer> branch, shortcut;
};

int64_t stageWidth(const Architecture& architecture, int stage) {
  return (64 << stage) * (architecture.bottleneck ? 4 : 1);
}

std::vector<BlockLayers> stageLayers(const Architecture& architecture, int stage) {
  std::vector<BlockLayers> out;
  int64_t in = stage == 0 ? 64 : stageWidth(architecture, stage - 1);
  const int64_t width = stageWidth(architecture, stage);
  const int64_t inner = (64 << stage) * architecture.widthFactor;
  for (int i = 0; i < architecture.blocks[stage]; ++i) {
    const std::string p = "layer" + std::to_string(stage + 1) + "." + std::to_string(i) + ".";
    const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
    BlockLayers block;
    if (architecture.bottleneck) {
      block.branch = {{p + "conv1", p + "bn1", inner, in, 1, 1, false},
                      {p + "conv2", p + "bn2", inner, inner, 3, stride, false},
                      {p + "conv3", p + "bn3", width, inner, 1, 1, true}};
    } else {
      block.branch = {{p + "conv1", p + "bn1", width, in, 3, stride, false},
                      {p + "conv2", p + "bn2", width, width, 3, 1, true}};
    }
    if (stride != 1 || in != width)
      block.shortcut = {{p + "downsample.0", p + "downsample.1", width, in, 1, stride, false}};
    out.push_back(std::move(block));
    in = width;
  }
  return out;
}

std::vector<Layer> allLayers(const Architecture& architecture) {
  std::vector<Layer> out = {{"conv1", "bn1", 64, 3, 7, 2, false}};
  for (int stage = 0; stage < 3; ++stage)
    for (const BlockLayers& block : stageLayers(architecture, stage)) {
      out.insert(out.end(), block.branch.begin(), block.branch.end());
      out.insert(out.end(), block.shortcut.begin(), block.shortcut.end());
    }
  return out;
}

int64_t halved(int64_t n) {
  return (n - 1) / 2 + 1;
}  // what every strided layer makes of a side: kernel 2p+1, padding p, stride 2

SSN_VECTORISED bool scaleRow(const float* from, double scale, int64_t count, float* to) {
  uint32_t odd = 0;
  for (int64_t i = 0; i < count; ++i) {
    odd |= ((std::bit_cast<uint32_t>(from[i]) & 0x7f800000u) + 0x00800000u) & 0x80000000u;  // NaN or infinite
    to[i] = static_cast<float>(from[i] * scale);
  }
  return odd == 0;
}

// to = from scaled row by row, in one pass: a network has 100 MB of them. Returns whether all are finite; the products
// of finite float32 values and scales are, in double.
bool scaleRows(const at::Tensor& from, const at::Tensor& scale, const at::Tensor& to) {
  const at::Tensor dense = from.contiguous(), scales = scale.contiguous();
  const float* in = dense.data_ptr<float>();
  const double* factor = scales.data_ptr<double>();
  float* out = to.data_ptr<float>();
  const int64_t rows = dense.size(0), count = dense.numel() / rows;
  std::atomic<bool> finite = true;
  at::parallel_for(0, rows, std::max<int64_t>(1, (1 << 15) / count), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      if (!std::isfinite(factor[row]) || !scaleRow(in + row * count, factor[row], count, out + row * count))
        finite = false;
  });
  return finite;
}

int stageNamed(const std::string& layer) {
  if (layer.size() != 6 || layer.compare(0, 5, "layer") != 0 || layer[5] < '1' || layer[5] > '3')
    throw Error("INVALID_OPTION", "unknown layer '" + layer + "'");
  return layer[5] - '1';
}

}  // namespace

const Architecture& architectureNamed(const std::string& name) {
  for (const Architecture& architecture : architectures())
    if (architecture.name == name) return architecture;
  throw Error("INVALID_OPTION", "unknown backbone '" + name + "'");
}

std::map<std::string, std::vector<int64_t>> backboneTensors(const Architecture& architecture) {
  std::map<std::string, std::vector<int64_t>> out;
  for (const Layer& layer : allLayers(architecture)) {
    out[layer.conv + ".weight"] = {layer.out, layer.in, layer.kernel, layer.kernel};
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) out[layer.bn + part] = {layer.out};
  }
  return out;
}

TensorMap randomBackbone(const Architecture& architecture, uint64_t seed) {
  TensorMap out;
  for (const Layer& layer : allLayers(architecture)) {
    throwIfCancelled();
    // He initialisation by fan-out, as torchvision's own constructor.
    const double std = std::sqrt(2.0 / static_cast<double>(layer.out * layer.kernel * layer.kernel));
    out[layer.conv + ".weight"] = normalTensor(seed, "backbone." + layer.conv + ".weight",
                                               {layer.out, layer.in, layer.kernel, layer.kernel}, std);
    out[layer.bn + ".weight"] = at::ones({layer.out}) * (layer.lastOfBranch ? 0.5 : 1.0);
    out[layer.bn + ".bias"] = at::zeros({layer.out});
    out[layer.bn + ".running_mean"] = at::zeros({layer.out});
    out[layer.bn + ".running_var"] = at::ones({layer.out});
  }
  return out;
}

Convolution Backbone::folded(const TensorMap& tensors, const std::string& conv, const std::string& bn, int64_t stride,
                             int64_t padding, int64_t height, int64_t width) const {
  // Folded in double: the scale of a channel must not cost precision.
  const at::Tensor scale = tensors.at(bn + ".weight").to(at::kDouble) /
                           (tensors.at(bn + ".running_var").to(at::kDouble) + kBatchNormEps).sqrt();
  const at::Tensor bias =
      tensors.at(bn + ".bias").to(at::kDouble) - tensors.at(bn + ".running_mean").to(at::kDouble) * scale;
  const at::Tensor& from = tensors.at(conv + ".weight");
  const at::Tensor weight = at::empty_like(from, at::MemoryFormat::Contiguous);
  // Kernels may turn what is not a number into 0 (a ReLU), and a wrong score would look like a right one.
  if (!scaleRows(from, scale, weight) || !std::isfinite(bias.sum().item<double>()))
    throw Error("WEIGHTS_INVALID", "the backbone's '" + conv + "' with its batch norm '" + bn +
                                       "' is not finite: NaN or infinite weights, or a negative variance");
  return {weight.to(dtype_).to(device_), bias.to(dtype_).to(device_), stride, padding, height, width};
}

Backbone::Backbone(const Architecture& architecture, const TensorMap& tensors, const std::vector<std::string>& layers,
                   int64_t height, int64_t width, at::Device device, at::ScalarType dtype)
    : device_(device), dtype_(dtype) {
  for (const std::string& layer : layers) resultStages_.push_back(stageNamed(layer));
  if (resultStages_.empty()) throw Error("INVALID_OPTION", "no layer is named");
  stem_ = folded(tensors, "conv1", "bn1", 2, 3, height, width);
  height = halved(halved(height)), width = halved(halved(width));
  const int last = *std::max_element(resultStages_.begin(), resultStages_.end());
  for (int stage = 0; stage <= last; ++stage) {
    std::vector<Block> blocks;
    for (const BlockLayers& source : stageLayers(architecture, stage)) {
      Block block;
      for (const Layer& layer : source.shortcut)
        block.shortcut.push_back(folded(tensors, layer.conv, layer.bn, layer.stride, 0, height, width));
      for (const Layer& layer : source.branch) {
        block.branch.push_back(folded(tensors, layer.conv, layer.bn, layer.stride, layer.kernel / 2, height, width));
        if (layer.stride == 2) height = halved(height), width = halved(width);
      }
      blocks.push_back(std::move(block));
    }
    stages_.push_back(std::move(blocks));
  }
}

std::vector<at::Tensor> Backbone::forward(const at::Tensor& input) const {
  at::Tensor x = input.to(device_).to(dtype_).contiguous(at::MemoryFormat::ChannelsLast);
  x = at::max_pool2d(stem_(x, /*relu=*/true), 3, 2, 1);
  std::vector<at::Tensor> stageOutputs;
  for (const std::vector<Block>& stage : stages_) {
    throwIfCancelled();
    for (const Block& block : stage) {
      at::Tensor y = x;
      for (size_t i = 0; i + 1 < block.branch.size(); ++i) y = block.branch[i](y, /*relu=*/true);
      // Without a shortcut x itself is overwritten: only the first block of a stage reads the last one's output, a
      // layer map, and from the second stage on that block has a shortcut.
      x = block.branch.back().addRelu(y, block.shortcut.empty() ? x : block.shortcut.front()(x, /*relu=*/false));
    }
    stageOutputs.push_back(x);
  }
  std::vector<at::Tensor> out;
  for (int stage : resultStages_) out.push_back(stageOutputs[stage]);
  return out;
}

int64_t Backbone::bytes() const {
  int64_t out = stem_.bytes();
  for (const std::vector<Block>& stage : stages_)
    for (const Block& block : stage) {
      for (const Convolution& convolution : block.branch) out += convolution.bytes();
      for (const Convolution& convolution : block.shortcut) out += convolution.bytes();
    }
  return out;
}

std::vector<LayerShape> layerShapes(const Architecture& architecture, const std::vector<std::string>& layers,
                                    int64_t height, int64_t width) {
  constexpr int64_t kLargest = 1 << 16;
  if (layers.empty()) throw Error("INVALID_OPTION", "no layer is named");
  if (height < 1 || width < 1 || height > kLargest || width > kLargest)
    throw Error("INVALID_OPTION",
                "an image size of " + std::to_string(height) + "x" + std::to_string(width) + " is out of range");
  std::vector<LayerShape> stages;
  int64_t h = halved(halved(height)), w = halved(halved(width));
  for (int stage = 0; stage < 3; ++stage) {
    if (stage > 0) h = halved(h), w = halved(w);
    stages.push_back({stageWidth(architecture, stage), h, w});
  }
  std::vector<LayerShape> out;
  for (const std::string& layer : layers) out.push_back(stages[stageNamed(layer)]);
  return out;
}

}  // namespace ssn

// The ResNet family of torchvision up to layer3 (layer4 and fc are never built), frozen, in eval mode, with every batch
// norm folded into the convolution before it: w' = w g / sqrt(v + eps), b' = beta - m g / sqrt(v + eps).
// docs/method.md, Features.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "backbone/convolution.h"
#include "tensor_map.h"

namespace ssn {

struct Architecture {
  std::string name;
  bool bottleneck;
  std::vector<int> blocks;  // of layer1, layer2, layer3
  int widthFactor;          // 2 for the wide nets: the bottleneck's inner width is 64 * 2^stage * widthFactor
};

// Throws Error("INVALID_OPTION") for an unknown name.
const Architecture& architectureNamed(const std::string& name);

// Names (torchvision's) and shapes of every tensor that the stem and layer1..layer3 need.
std::map<std::string, std::vector<int64_t>> backboneTensors(const Architecture& architecture);

// Untrained weights: He-normal convolutions; the last batch norm of each residual branch has weight 0.5 so that the
// deep nets' activations stay in range without running statistics.
TensorMap randomBackbone(const Architecture& architecture, uint64_t seed);

// Channels and size of the map that one layer gives.
struct LayerShape {
  int64_t channels, height, width;
};

// Returns the shape of each of `layers` ("layer1".."layer3") for an image of height x width. Throws
// Error("INVALID_OPTION") for another layer.
std::vector<LayerShape> layerShapes(const Architecture& architecture, const std::vector<std::string>& layers,
                                    int64_t height, int64_t width);

class Backbone {
 public:
  // `tensors` holds at least backboneTensors(); `layers` are the layers taken ("layer1".."layer3"), in the order of the
  // result; height, width: of the images.
  Backbone(const Architecture& architecture, const TensorMap& tensors, const std::vector<std::string>& layers,
           int64_t height, int64_t width, at::Device device, at::ScalarType dtype = at::kFloat);

  // b x 3 x H x W, normalised -> one map per layer, b x C_l x h_l x w_l, channels-last.
  std::vector<at::Tensor> forward(const at::Tensor& input) const;

  int64_t bytes() const;  // of its weights

 private:
  struct Block {
    std::vector<Convolution> branch;
    std::vector<Convolution> shortcut;  // one or none
  };
  Convolution folded(const TensorMap& tensors, const std::string& conv, const std::string& bn, int64_t stride,
                     int64_t padding, int64_t height, int64_t width) const;

  at::Device device_;
  at::ScalarType dtype_;
  Convolution stem_;
  std::vector<std::vector<Block>> stages_;
  std::vector<int> resultStages_;  // stage index of each result
};

}  // namespace ssn

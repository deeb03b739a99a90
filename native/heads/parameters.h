// The trainable part: adaptor, segmentation head, classification head (docs/method.md, Features, Heads). Names are the
// authors'.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "tensor_map.h"

namespace ssn {

constexpr int64_t kSegmentationHidden = 1024;
constexpr int64_t kClassificationHidden = 128;
constexpr int64_t kTapSide = 5;  // of the classification head's convolution
constexpr int64_t kTaps = kTapSide * kTapSide;
constexpr double kLeakySlope = 0.2;
constexpr double kHeadsBatchNormEps = 1e-5;
constexpr double kHeadsBatchNormMomentum = 0.1;

struct BatchNorm {
  at::Tensor weight, bias, runningMean, runningVar;
};

// Which parts the classification head has: the paper's, or an ablation (docs/method.md, Ablations).
struct HeadLayout {
  enum Classification {
    kStandard,  // one convolutional block
    kComplex,   // three: two more of 128 -> 128
    kMapMax,    // none: the score is the map's maximum
  } classification = kStandard;
  bool mapInput = true;  // the head sees M: in its convolution and in its last layer

  bool standard() const { return classification == kStandard && mapInput; }
};

struct ConvBlock {
  at::Tensor weight, bias;
  BatchNorm norm;
};

struct Heads {
  HeadLayout layout;
  at::Tensor adaptorWeight, adaptorBias;  // C x C x 1 x 1, C
  at::Tensor segWeight, segBias;          // 1024 x C x 1 x 1, 1024
  BatchNorm segNorm;                      // 1024
  at::Tensor segOut;                      // 1 x 1024 x 1 x 1
  at::Tensor clsWeight, clsBias;          // 128 x (C+1) x 5 x 5, 128: channel C is the map's, absent without mapInput
  BatchNorm clsNorm;                      // 128
  ConvBlock deeper[2];                    // kComplex only: 128 x 128 x 5 x 5
  at::Tensor fcWeight, fcBias;            // 1 x 258, or 1 x 256 without mapInput; 1

  int64_t channels() const { return adaptorWeight.size(0); }

  struct Named {
    enum Kind { kAdaptor, kHead, kBuffer };
    std::string name;
    at::Tensor* tensor;
    Kind group;
  };
  // Every tensor that the layout has, in a fixed order; kBuffer marks running statistics, which are not trained.
  std::vector<Named> named();

  int64_t bytes() const {
    int64_t out = 0;
    for (const Named& each : Heads(*this).named()) out += bytesOf(*each.tensor);
    return out;
  }
};

// Names and shapes of every tensor for C feature channels.
std::map<std::string, std::vector<int64_t>> headTensors(int64_t channels, const HeadLayout& layout);

// Copies to `device` in float32; without `copy` only what is not there in float32 yet. Throws Error("WEIGHTS_INVALID")
// if a tensor is missing or has another shape.
Heads headsFromTensors(const TensorMap& tensors, int64_t channels, const HeadLayout& layout, at::Device device,
                       bool copy = true);
TensorMap headsToTensors(Heads& heads);

// Xavier-normal weights, biases uniform in +-1/sqrt(fan_in), batch norms 1 and 0 (docs/method.md, Heads).
TensorMap randomHeads(int64_t channels, const HeadLayout& layout, uint64_t seed);

}  // namespace ssn

// What fixes the function that the network computes; NetworkConfig and EngineConfig of lib/native/binding.ts.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "backbone/resnet.h"
#include "features/features.h"
#include "heads/parameters.h"

namespace ssn {

struct NetworkConfig {
  std::string architecture;
  std::vector<std::string> layers;
  int64_t imageHeight, imageWidth;
  bool adaptedClassification;  // the icpr variant
  bool alignCorners;
  bool upscale;
  HeadLayout layout;
};

inline std::vector<LayerShape> layerShapes(const NetworkConfig& config) {
  return layerShapes(architectureNamed(config.architecture), config.layers, config.imageHeight, config.imageWidth);
}

inline FeatureShape featureShape(const NetworkConfig& config) {
  return featureShape(layerShapes(config), config.upscale);
}

struct EngineConfig : NetworkConfig {
  at::Device device{at::kCPU};
  bool direct;  // heads at full resolution

  // The low-resolution form knows the standard layout only.
  bool computable() const { return direct || layout.standard(); }
};

struct DetectorConfig : EngineConfig {
  at::ScalarType precision;  // of the backbone and of the wide matrix products
  int64_t graphs;            // CUDA: for how many batch sizes a captured graph is kept
  bool tf32;                 // CUDA, precision float: products and convolutions may round their operands to TF32
};

}  // namespace ssn

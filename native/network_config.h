// What fixes the function that the network computes; NetworkConfig and EngineConfig of lib/native/binding.ts.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "backbone/resnet.h"

namespace ssn {

struct NetworkConfig {
  std::string architecture;
  std::vector<std::string> layers;
  int64_t imageHeight, imageWidth;
  bool adaptedClassification;  // the icpr variant
  bool alignCorners;
};

inline std::vector<TapShape> tapShapes(const NetworkConfig& config) {
  return tapShapes(architectureNamed(config.architecture), config.layers, config.imageHeight, config.imageWidth);
}

struct EngineConfig : NetworkConfig {
  at::Device device{at::kCPU};
  bool direct;  // heads at full resolution
};

struct DetectorConfig : EngineConfig {
  at::ScalarType precision;  // of the backbone and of the wide matrix products
};

}  // namespace ssn

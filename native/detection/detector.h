// Inference: images to score logits and anomaly maps.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "backbone/resnet.h"
#include "features/axis_map.h"
#include "heads/folded.h"
#include "network_config.h"

namespace ssn {

namespace cuda {
class Pipeline;
}

class Detector {
 public:
  Detector(const DetectorConfig& config, const TensorMap& backbone, const TensorMap& heads);

  struct Output {
    at::Tensor scores;  // n, logits, CPU
    at::Tensor maps;    // n x H x W, logits at model size, CPU
  };
  // pixels: n x H x W x 3 uint8 at model size, CPU. One thread at a time.
  Output detect(const at::Tensor& pixels) const;

  struct Inspection {
    std::vector<at::Tensor> layerMaps;  // float32, as everything here
    at::Tensor features, mapLogits, anomalyMap, scoreLogit;
  };
  // Every stage, for normalised input n x 3 x H x W.
  Inspection inspect(const at::Tensor& input) const;

  // Bytes of the weights, in the device's memory. (A GPU's memory is as scarce as the machine's.)
  int64_t bytes() const { return backbone_.bytes() + (folded_ ? folded_->bytes() : direct_->bytes()); }

 private:
  std::pair<at::Tensor, at::Tensor> onDevice(const at::Tensor& pixels) const;  // scores and maps where the pixels are
  HeadsOutput heads(const std::vector<at::Tensor>& layerMaps) const;
  at::Tensor anomalyMap(const at::Tensor& map) const;  // n x 1 x h x w -> n x 1 x H x W

  DetectorConfig config_;
  Backbone backbone_;
  std::optional<Heads> direct_;
  std::optional<FoldedHeads> folded_;
  at::Tensor mapRows_, mapColumns_;
  DeviceAxisMap mapRowsSparse_, mapColumnsSparse_;  // where runsOnHost(device) does not hold
  std::shared_ptr<cuda::Pipeline> pipeline_;        // on a GPU
};

}  // namespace ssn

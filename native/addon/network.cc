#include "addon/network.h"

#include <ATen/Context.h>
#include <ATen/ops/empty.h>

#include <cstring>

#include "addon/convert.h"
#include "error.h"
#include "tf32.h"

namespace ssn::addon {
namespace {

bool given(const Napi::Object& options, const char* name) { return !options.Get(name).IsUndefined(); }

}  // namespace

HeadLayout headLayoutFromJs(const Napi::Value& value) {
  HeadLayout layout;
  if (value.IsUndefined()) return layout;
  const auto options = value.As<Napi::Object>();
  if (given(options, "classificationHead")) {
    const std::string head = getString(options, "classificationHead");
    layout.classification = head == "complex"  ? HeadLayout::kComplex
                            : head == "mapMax" ? HeadLayout::kMapMax
                                               : HeadLayout::kStandard;
  }
  if (given(options, "mapInput")) layout.mapInput = getBool(options, "mapInput");
  return layout;
}

NetworkConfig networkConfigFromJs(const Napi::Object& options) {
  NetworkConfig config;
  config.architecture = getString(options, "architecture");
  config.layers = getStrings(options, "layers");
  config.imageHeight = getInt(options, "imageHeight");
  config.imageWidth = getInt(options, "imageWidth");
  config.adaptedClassification = getString(options, "variant") == "icpr";
  config.alignCorners = getBool(options, "alignCorners");
  if (given(options, "upscale")) config.upscale = getBool(options, "upscale");
  config.layout = headLayoutFromJs(options);
  return config;
}

EngineConfig engineConfigFromJs(const Napi::Object& options) {
  EngineConfig config{networkConfigFromJs(options), at::Device(getString(options, "device")),
                      getString(options, "compute") == "direct"};
  if (config.device.is_cuda() && !at::hasCUDA())
    throw Error("DEVICE_UNAVAILABLE",
                "device '" + config.device.str() + "' was asked for, but this libtorch has no usable CUDA device");
  if (config.device.is_cuda()) {
    // Full float32: with TF32 convolutions, cuDNN's default, features would keep three decimal digits.
    AllowTf32::set(false);
    at::globalContext().setDeterministicCuDNN(true);
  }
  return config;
}

DetectorConfig detectorConfigFromJs(const Napi::Object& options) {
  const std::string precision = getString(options, "precision");
  return {engineConfigFromJs(options),
          precision == "bfloat16"  ? at::kBFloat16
          : precision == "float16" ? at::kHalf
                                   : at::kFloat,
          given(options, "cudaGraphs") ? getInt(options, "cudaGraphs") : 0, precision == "tf32"};
}

TrainerConfig trainerConfigFromJs(const Napi::Object& options) {
  TrainerConfig config;
  static_cast<EngineConfig&>(config) = engineConfigFromJs(options);
  config.seed = static_cast<uint64_t>(getInt(options, "seed"));
  const Napi::Float32Array noise = options.Get("noiseStd").As<Napi::Float32Array>();
  config.noiseStd = at::empty({static_cast<int64_t>(noise.ElementLength())}, at::kFloat);
  std::memcpy(config.noiseStd.data_ptr(), noise.Data(), noise.ByteLength());
  config.perlinThreshold = getNumber(options, "perlinThreshold");
  config.featureCacheBytes = getInt(options, "featureCacheBytes");
  if (given(options, "featureCacheHostBytes")) config.featureCacheHostBytes = getInt(options, "featureCacheHostBytes");
  if (given(options, "nccl")) config.nccl = getBool(options, "nccl");
  if (given(options, "cudaGraphs")) config.graphs = getInt(options, "cudaGraphs");
  config.featureCachePrecision =
      options.Has("featureCachePrecision") && getString(options, "featureCachePrecision") == "float16" ? at::kHalf
                                                                                                       : at::kFloat;
  if (const Napi::Value value = options.Get("featureCacheFile"); !value.IsUndefined()) {
    const auto file = value.As<Napi::Object>();
    config.featureCacheFile = {getString(file, "path"), getInt(file, "bytes"), digestFromJs(file.Get("identity"))};
  }
  if (given(options, "syntheticAnomalies")) {
    const std::string synthetic = getString(options, "syntheticAnomalies");
    config.synthetic = synthetic == "simplenet" ? AnomalyMaskOptions::kWholeSecondCopy
                       : synthetic == "none"    ? AnomalyMaskOptions::kNone
                                                : AnomalyMaskOptions::kPerlin;
  }
  if (given(options, "precision")) {
    const std::string precision = getString(options, "precision");
    config.tf32 = precision == "tf32";
    if (precision == "bfloat16") config.precision = at::kBFloat16;
  }
  if (given(options, "overlap")) config.overlap = getBool(options, "overlap");
  if (given(options, "loss")) config.focalMap = getString(options, "loss") != "truncatedL1";
  config.stopGradient = getBool(options, "stopGradient");
  config.gradientClip = getNumber(options, "gradientClip");
  config.adaptorWeightDecay = getNumber(options, "adaptorWeightDecay");
  config.headsWeightDecay = getNumber(options, "headsWeightDecay");
  return config;
}

Digest digestFromJs(const Napi::Value& value) {
  const auto array = value.As<Napi::Uint8Array>();
  Digest out;
  if (array.ByteLength() != out.size()) throw Error("INTERNAL", "a digest has 32 bytes");
  std::memcpy(out.data(), array.Data(), out.size());
  return out;
}

}  // namespace ssn::addon

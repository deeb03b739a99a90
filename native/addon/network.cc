#include "addon/network.h"

#include <ATen/Context.h>
#include <ATen/ops/empty.h>

#include <cstring>

#include "addon/convert.h"
#include "tf32.h"

namespace ssn::addon {
namespace {

struct Precision {
  at::ScalarType type;
  bool tf32;
};

Precision precisionFromJs(const Napi::Object& options) {
  return getChoice<Precision>(options, "precision",
                              {{"float32", {at::kFloat, false}},
                               {"tf32", {at::kFloat, true}},
                               {"bfloat16", {at::kBFloat16, false}},
                               {"float16", {at::kHalf, false}}});
}

}  // namespace

HeadLayout headLayoutFromJs(const Napi::Value& value) {
  if (value.IsUndefined()) return {};
  const auto options = value.As<Napi::Object>();
  return {
      getChoice<HeadLayout::Classification>(
          options, "classificationHead",
          {{"standard", HeadLayout::kStandard}, {"complex", HeadLayout::kComplex}, {"mapMax", HeadLayout::kMapMax}}),
      getBool(options, "mapInput")};
}

NetworkConfig networkConfigFromJs(const Napi::Object& options) {
  return {getString(options, "architecture"),
          getStrings(options, "layers"),
          getInt(options, "imageHeight"),
          getInt(options, "imageWidth"),
          getChoice<bool>(options, "variant", {{"jims", false}, {"icpr", true}}),
          getBool(options, "alignCorners"),
          getBool(options, "upscale"),
          headLayoutFromJs(options)};
}

EngineConfig engineConfigFromJs(const Napi::Object& options) {
  EngineConfig config{networkConfigFromJs(options), at::Device(getString(options, "device")),
                      getChoice<bool>(options, "compute", {{"lowResolution", false}, {"direct", true}})};
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
  const auto [type, tf32] = precisionFromJs(options);
  return {engineConfigFromJs(options), type, getInt(options, "cudaGraphs"), tf32};
}

TrainerConfig trainerConfigFromJs(const Napi::Object& options) {
  TrainerConfig config;
  static_cast<EngineConfig&>(config) = engineConfigFromJs(options);
  config.seed = static_cast<uint64_t>(getInt(options, "seed"));
  config.noiseStd = float32FromJs(options.Get("noiseStd"));
  const auto [type, tf32] = precisionFromJs(options);
  check(type != at::kHalf, "training knows no float16");
  config.precision = type;
  config.tf32 = tf32;
  config.nccl = getBool(options, "nccl");
  config.noiseVectors = getInt(options, "noiseVectors");
  config.perlinThreshold = getNumber(options, "perlinThreshold");
  config.featureCacheBytes = getInt(options, "featureCacheBytes");
  config.featureCacheHostBytes = getInt(options, "featureCacheHostBytes");
  config.featureCachePrecision =
      getChoice<at::ScalarType>(options, "featureCachePrecision", {{"float32", at::kFloat}, {"float16", at::kHalf}});
  if (isDefined(options, "featureCacheFile")) {
    const auto file = options.Get("featureCacheFile").As<Napi::Object>();
    config.featureCacheFile = {getString(file, "path"), getInt(file, "bytes"), digestFromJs(file.Get("identity"))};
  }
  const auto ablation = options.Get("ablation").As<Napi::Object>();
  config.synthetic = getChoice<AnomalyKind>(
      ablation, "syntheticAnomalies",
      {{"perlin", AnomalyKind::perlin}, {"simplenet", AnomalyKind::wholeSecondCopy}, {"none", AnomalyKind::none}});
  config.overlap = getBool(ablation, "overlap");
  config.focalMap = getChoice<bool>(ablation, "loss", {{"default", true}, {"truncatedL1", false}});
  const auto optimizer = options.Get("optimizer").As<Napi::Object>();
  config.stopGradient = getBool(optimizer, "stopGradient");
  config.gradientClip = getNumber(optimizer, "gradientClip");
  config.adaptorWeightDecay = getNumber(optimizer, "adaptorWeightDecay");
  config.headsWeightDecay = getNumber(optimizer, "headsWeightDecay");
  config.graphs = getInt(options, "cudaGraphs");
  return config;
}

LearningRates learningRatesFromJs(const Napi::Object& options) {
  return {getNumber(options, "adaptorLearningRate"), getNumber(options, "headsLearningRate")};
}

Napi::Object lossesToJs(Napi::Env env, const StepLosses& losses) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("l1Normal", losses.l1Normal);
  out.Set("l1Anomalous", losses.l1Anomalous);
  out.Set("focalMap", losses.focalMap);
  out.Set("focalScore", losses.focalScore);
  out.Set("total", losses.total);
  out.Set("gradientNorm", losses.gradientNorm);
  return out;
}

at::Tensor float32FromJs(const Napi::Value& value) {
  const auto array = value.As<Napi::Float32Array>();
  at::Tensor out = at::empty({static_cast<int64_t>(array.ElementLength())}, at::kFloat);
  std::memcpy(out.data_ptr(), array.Data(), array.ByteLength());
  return out;
}

Digest digestFromJs(const Napi::Value& value) {
  const auto array = value.As<Napi::Uint8Array>();
  Digest out;
  check(array.ByteLength() == out.size(), "a digest has 32 bytes");
  std::memcpy(out.data(), array.Data(), out.size());
  return out;
}

}  // namespace ssn::addon

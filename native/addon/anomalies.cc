// Synthetic anomalies as training draws them, for tests and inspection.
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "addon/convert.h"
#include "addon/errors.h"
#include "addon/register.h"
#include "anomalies/latent_noise.h"
#include "anomalies/masks.h"
#include "anomalies/perlin.h"
#include "error.h"

namespace ssn::addon {
namespace {

int64_t integer(const Napi::Value& value) { return value.As<Napi::Number>().Int64Value(); }

at::Device deviceOf(const Napi::Value& value) {
  return value.IsUndefined() ? at::Device(at::kCPU) : at::Device(value.As<Napi::String>().Utf8Value());
}

// Seed and step are the first two arguments.
StepStreams streamsOf(const Napi::CallbackInfo& info, int64_t images, int64_t first, int64_t second,
                      at::Device device) {
  const int64_t step = integer(info[1]);
  return {static_cast<uint64_t>(integer(info[0])),  step, images, first, second,
          at::full({1}, step, at::kLong).to(device)};
}

Napi::Value perlinNoiseToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[0]), width = integer(info[1]), latticeY = integer(info[2]),
                latticeX = integer(info[3]);
  const Napi::Float32Array angles = info[4].As<Napi::Float32Array>();
  if (height < 1 || width < 1 || latticeY < 1 || latticeX < 1 ||
      static_cast<int64_t>(angles.ElementLength()) != (latticeY + 1) * (latticeX + 1))
    throw Error("INTERNAL", "perlinNoise: sizes do not fit");
  std::vector<float> out(height * width);
  perlinNoise(height, width, latticeY, latticeX, angles.Data(), out.data());
  return vectorToJs(info.Env(), out);
}

Napi::Value perlinMasksToJs(const Napi::CallbackInfo& info) {
  const int64_t count = integer(info[2]), height = integer(info[3]), width = integer(info[4]);
  if (count < 0 || height < 1 || width < 1) throw Error("INTERNAL", "perlinMasks: sizes must be at least 1");
  const AnomalyMaskOptions options{AnomalyMaskOptions::kPerlin, height, width, info[5].As<Napi::Number>().FloatValue()};
  const at::Device device = deviceOf(info[6]);
  // As of the first copy of a batch.
  return float32ToJs(
      info.Env(),
      anomalyMasks(options, streamsOf(info, count, 0, count, device), device).slice(0, 0, count).cpu().contiguous());
}

Napi::Value latentNoiseToJs(const Napi::CallbackInfo& info) {
  const Napi::Int32Array positions = info[3].As<Napi::Int32Array>();
  const int64_t channels = integer(info[4]);
  if (channels < 1) throw Error("INTERNAL", "latentNoise: channels must be at least 1");
  at::Tensor cells = at::empty({static_cast<int64_t>(positions.ElementLength())}, at::kLong);
  std::copy(positions.Data(), positions.Data() + positions.ElementLength(), cells.data_ptr<int64_t>());
  const int64_t sample = integer(info[2]);
  const at::Device device = deviceOf(info[5]);
  return float32ToJs(info.Env(), latentNoise(streamsOf(info, /*images=*/1, sample, sample, device),
                                             /*plane=*/int64_t{1} << 31, cells.to(device), channels, /*std=*/{})
                                     .cpu());
}

}  // namespace

void registerAnomalies(Napi::Env env, Napi::Object exports) {
  addFunction<perlinNoiseToJs>(env, exports, "perlinNoise");
  addFunction<perlinMasksToJs>(env, exports, "perlinMasks");
  addFunction<latentNoiseToJs>(env, exports, "latentNoise");
}

}  // namespace ssn::addon

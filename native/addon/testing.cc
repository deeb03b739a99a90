// What only tests and benchmarks call: parts of the engine by themselves, and a look at memory. NativeTesting of
// test/support/native.ts.
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <dlfcn.h>

#include <algorithm>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "addon/convert.h"
#include "addon/engine_thread.h"
#include "addon/network.h"
#include "addon/register.h"
#include "anomalies/distance_weight.h"
#include "anomalies/latent_noise.h"
#include "anomalies/masks.h"
#include "anomalies/perlin.h"
#include "detection/detector.h"
#include "runs_on_host.h"

namespace ssn::addon {
namespace {

Napi::Value setPortable(const Napi::CallbackInfo& info) {
  const bool portable = info[0].As<Napi::Boolean>();
  return runOnEngine(info.Env(), [portable] { portableOnly = portable; });
}

// Bytes that malloc has handed out; null where it does not count them. mallinfo2 is looked up by name, because glibc
// before 2.33 lacks it.
Napi::Value allocatedBytes(const Napi::CallbackInfo& info) {
#ifdef __GLIBC__
  struct Counts {  // struct mallinfo2
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
  };
  if (const auto count = reinterpret_cast<Counts (*)()>(dlsym(RTLD_DEFAULT, "mallinfo2"))) {
    const Counts counts = count();
    return Napi::Number::New(info.Env(), static_cast<double>(counts.uordblks + counts.hblkhd));
  }
#endif
  return info.Env().Null();
}

// Gives malloc's free blocks back to the system, so that what stays resident is in use.
Napi::Value trimMemory(const Napi::CallbackInfo& info) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return info.Env().Undefined();
}

// Bytes outside its heap that V8 was told of.
Napi::Value externalBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           static_cast<double>(Napi::MemoryManagement::AdjustExternalMemory(info.Env(), 0)));
}

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
  check(height >= 1 && width >= 1 && latticeY >= 1 && latticeX >= 1 &&
            static_cast<int64_t>(angles.ElementLength()) == (latticeY + 1) * (latticeX + 1),
        "perlinNoise: sizes do not fit");
  std::vector<float> out(height * width);
  perlinNoise(height, width, latticeY, latticeX, angles.Data(), out.data());
  return vectorToJs(info.Env(), out);
}

Napi::Value perlinMasksToJs(const Napi::CallbackInfo& info) {
  const int64_t count = integer(info[2]), height = integer(info[3]), width = integer(info[4]);
  check(count >= 0 && height >= 1 && width >= 1, "perlinMasks: sizes must be at least 1");
  const AnomalyMaskOptions options{AnomalyKind::perlin, height, width, info[5].As<Napi::Number>().FloatValue()};
  const at::Device device = deviceOf(info[6]);
  // As of the first copy of a batch.
  return float32ToJs(
      info.Env(),
      anomalyMasks(options, streamsOf(info, count, 0, count, device), device).slice(0, 0, count).cpu().contiguous());
}

// Both noises of a step at flat positions of one sample: the fourth argument; channels are the fifth.
struct NoiseAt {
  NoiseAt(const Napi::CallbackInfo& info, at::Device device)
      : streams(streamsOf(info, /*images=*/1, integer(info[2]), integer(info[2]), device)), channels(integer(info[4])) {
    check(channels >= 1, "noise: channels must be at least 1");
    const Napi::Int32Array positions = info[3].As<Napi::Int32Array>();
    at::Tensor host = at::empty({static_cast<int64_t>(positions.ElementLength())}, at::kLong);
    std::copy(positions.Data(), positions.Data() + positions.ElementLength(), host.data_ptr<int64_t>());
    cells = host.to(device);
  }
  at::Tensor rows(int64_t count) const { return at::empty({count, channels}, cells.options().dtype(at::kFloat)); }

  StepStreams streams;
  int64_t channels, plane = int64_t{1} << 31;
  at::Tensor cells;
};

Napi::Value latentNoiseToJs(const Napi::CallbackInfo& info) {
  const NoiseAt at(info, deviceOf(info[5]));
  const at::Tensor out = at.rows(at.cells.numel());
  latentNoise(at.streams, at.plane, at.cells, /*std=*/{}, out);
  return float32ToJs(info.Env(), out.cpu());
}

// Of shared ones, so many: the vectors, and what each position takes.
Napi::Value sharedNoiseToJs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const NoiseAt at(info, deviceOf(info[6]));
  const int64_t vectors = integer(info[5]);
  check(vectors >= 1, "noise: vectors must be at least 1");
  const Noise noise = sharedNoise(at.streams, at.plane, at.cells, /*std=*/{}, at.rows(vectors));
  Napi::Object result = Napi::Object::New(env);
  result.Set("vectors", tensorToJs(env, noise.vectors));
  result.Set("index", tensorToJs(env, noise.index));
  result.Set("weight", tensorToJs(env, noise.weight));
  return result;
}

Napi::Value distanceWeightToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]);
  const Napi::Uint8Array mask = imageFromJs(info[0], height, width, /*channels=*/1);
  std::vector<float> out(mask.ElementLength());
  distanceWeight(mask.Data(), height, width, info[3].As<Napi::Number>().FloatValue(),
                 info[4].As<Napi::Number>().FloatValue(), out.data());
  return vectorToJs(info.Env(), out);
}

Napi::Value dilateToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]), size = integer(info[3]);
  check(size >= 0, "dilation must not be negative");
  const Napi::Uint8Array mask = imageFromJs(info[0], height, width, /*channels=*/1);
  std::vector<uint8_t> out(mask.ElementLength());
  dilate(mask.Data(), height, width, size, out.data());
  return vectorToJs(info.Env(), out);
}

Napi::Value forward(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return runOnEngine<Detector::Inspection>(
      env,
      [config = detectorConfigFromJs(info[0].As<Napi::Object>()), backbone = tensorMapFromJs(info[1]),
       heads = tensorMapFromJs(info[2]),
       input = tensorFromJs(info[3])] { return Detector(config, backbone, heads).inspect(input); },
      [](Napi::Env e, Detector::Inspection& result) {
        Napi::Object out = Napi::Object::New(e);
        out.Set("layerMaps", listToJs(e, result.layerMaps, [e](const at::Tensor& map) { return tensorToJs(e, map); }));
        out.Set("features", tensorToJs(e, result.features));
        out.Set("mapLogits", tensorToJs(e, result.mapLogits));
        out.Set("anomalyMap", tensorToJs(e, result.anomalyMap));
        out.Set("scoreLogit", tensorToJs(e, result.scoreLogit));
        return out;
      });
}

// One training step with everything random given (GoldenStepInput of test/support/native.ts).
Napi::Value goldenStep(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const auto options = info[0].As<Napi::Object>();
  struct Result {
    StepOutput output;
    StepLosses losses;
    TensorMap gradients, after;
  };
  TensorMap in;
  for (const char* name : {"input", "noise", "perlinMask", "mask", "label", "isSegmented", "distanceWeight"})
    in[name] = tensorFromJs(options.Get(name));
  return runOnEngine<Result>(
      env,
      [config = trainerConfigFromJs(options.Get("config").As<Napi::Object>()),
       backbone = tensorMapFromJs(options.Get("backbone")), heads = tensorMapFromJs(options.Get("heads")), in,
       rates = learningRatesFromJs(options)] {
        Trainer trainer(config, backbone, heads);
        const auto use = trainer.use();
        const auto on = [&](const char* name) { return in.at(name).to(config.device); };
        StepInput input{trainer.layerMaps(in.at("input")),
                        on("mask"),
                        on("label"),
                        on("isSegmented"),
                        on("distanceWeight"),
                        on("perlinMask"),
                        nullptr};
        // 2b x C x H x W -> (2b H W) x C; a cell of -1 has none.
        input.noise = [noise = on("noise").permute({0, 2, 3, 1}).flatten(0, 2),
                       shared = config.noiseVectors](const at::Tensor& cells) {
          if (shared == 0) return Noise{noise.index_select(0, cells.clamp_min(0)) * cells.ge(0).unsqueeze(1), {}, {}};
          // Some choice of the first rows.
          const at::Tensor odd = cells.remainder(2).to(at::kFloat);
          return Noise{noise.slice(0, 0, shared).contiguous(), (cells * 7919).remainder(shared).to(at::kInt),
                       (odd * -2.5 + 1.0) * cells.ge(0)};
        };
        input.capacity =
            capacityFor(perturbation(input, config.overlap).noiseMask.sum().item<int64_t>(), input.perlinMask.numel());
        Result result;
        result.output = trainer.forwardBackward(input);
        const auto parameters = trainedParameters(trainer.heads());
        for (size_t i = 0; i < parameters.size(); ++i)
          result.gradients[parameters[i].name] = result.output.gradients[i].clone();
        const auto value = [](const at::Tensor& t) { return t.item<double>(); };
        result.losses = {value(result.output.l1Normal),
                         value(result.output.l1Anomalous),
                         value(result.output.focalMap),
                         value(result.output.focalScore),
                         0,
                         0};
        result.losses.total =
            result.losses.l1Normal + result.losses.l1Anomalous + result.losses.focalMap + result.losses.focalScore;
        result.losses.gradientNorm = value(trainer.update(result.output.gradients, rates));
        result.after = headsToTensors(trainer.heads());
        return result;
      },
      [](Napi::Env e, Result& result) {
        Napi::Object out = Napi::Object::New(e);
        out.Set("losses", lossesToJs(e, result.losses));
        out.Set("mapLogits", tensorToJs(e, result.output.map));
        out.Set("scoreLogit", tensorToJs(e, result.output.score));
        out.Set("targetMask", tensorToJs(e, result.output.targets.mask));
        out.Set("targetLabel", tensorToJs(e, result.output.targets.label));
        out.Set("gradients", tensorMapToJs(e, result.gradients));
        out.Set("after", tensorMapToJs(e, result.after));
        return out;
      });
}

}  // namespace

void registerTesting(Napi::Env env, Napi::Object exports) {
  Napi::Object testing = Napi::Object::New(env);
  addFunction<setPortable>(env, testing, "setPortable");
  addFunction<allocatedBytes>(env, testing, "allocatedBytes");
  addFunction<trimMemory>(env, testing, "trimMemory");
  addFunction<externalBytes>(env, testing, "externalBytes");
  addFunction<perlinNoiseToJs>(env, testing, "perlinNoise");
  addFunction<perlinMasksToJs>(env, testing, "perlinMasks");
  addFunction<latentNoiseToJs>(env, testing, "latentNoise");
  addFunction<sharedNoiseToJs>(env, testing, "sharedNoise");
  addFunction<distanceWeightToJs>(env, testing, "distanceWeight");
  addFunction<dilateToJs>(env, testing, "dilate");
  addFunction<forward>(env, testing, "forward");
  addFunction<goldenStep>(env, testing, "goldenStep");
  exports.Set("testing", testing);
}

}  // namespace ssn::addon

// Image operations and training targets. Promises run on the libuv pool; masks and maps are copied first, because
// JavaScript may change or transfer its buffers meanwhile. Photographs are not: see resizeImageToJs.
#include <memory>

#include "addon/convert.h"
#include "addon/pool_worker.h"
#include "addon/register.h"
#include "anomalies/targets.h"
#include "images/resize.h"

namespace ssn::addon {
namespace {

std::vector<uint8_t> copied(const Napi::Uint8Array& array) {
  return {array.Data(), array.Data() + array.ElementLength()};
}

Flip flipNumbered(int64_t number) {
  check(number >= 0 && number <= 3, "a flip must be 0, 1, 2 or 3");
  return static_cast<Flip>(number);
}

Napi::Value resizeImageToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]), channels = integer(info[3]);
  const int64_t toHeight = integer(info[4]), toWidth = integer(info[5]);
  const auto method = choice<ResizeMethod>("resize method", info[6].As<Napi::String>(),
                                           {{"bilinear", ResizeMethod::bilinear},
                                            {"antialias", ResizeMethod::antialias},
                                            {"nearest", ResizeMethod::nearest}});
  check(isSize(toHeight) && isSize(toWidth), "image sizes must be at least 1");
  const Napi::Uint8Array pixels = imageFromJs(info[0], height, width, channels);
  // Not copied: for 12 megapixels that takes several times as long as bilinear resizing, on JavaScript's thread. The
  // reference (released on that thread, with the job) keeps the memory; the caller must not transfer the buffer
  // meanwhile.
  auto held = std::make_shared<Napi::Reference<Napi::Uint8Array>>(Napi::Persistent(pixels));
  const uint8_t* from = pixels.Data();
  return runOnPool<std::vector<uint8_t>>(
      info.Env(),
      [=, held = std::move(held)] {
        std::vector<uint8_t> out(toHeight * toWidth * channels);
        resizeImage(from, height, width, channels, out.data(), toHeight, toWidth, method);
        return out;
      },
      [](Napi::Env env, std::vector<uint8_t>& out) { return vectorToJs(env, out); });
}

Napi::Value flipImageToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]), channels = integer(info[3]);
  const Napi::Uint8Array pixels = imageFromJs(info[0], height, width, channels);
  std::vector<uint8_t> out(pixels.ElementLength());
  flipImage(pixels.Data(), height, width, channels, flipNumbered(integer(info[4])), out.data());
  return vectorToJs(info.Env(), out);
}

TargetOptions targetOptionsFromJs(const Napi::Object& object) {
  TargetOptions options{getInt(object, "imageHeight"),
                        getInt(object, "imageWidth"),
                        getInt(object, "featureHeight"),
                        getInt(object, "featureWidth"),
                        getBool(object, "alignCorners"),
                        getInt(object, "dilation"),
                        std::nullopt,
                        {}};
  check(isSize(options.imageHeight) && isSize(options.imageWidth) && isSize(options.featureHeight) &&
            isSize(options.featureWidth),
        "target sizes must be at least 1");
  check(options.dilation >= 0, "dilation must not be negative");
  const Napi::Value weight = object.Get("distanceWeight");
  if (weight.IsObject()) {
    const Napi::Object values = weight.As<Napi::Object>();
    options.distanceWeight =
        DistanceWeightOptions{static_cast<float>(getNumber(values, "w")), static_cast<float>(getNumber(values, "p"))};
  }
  options.flips = listFromJs(object.Get("flips"), [](Napi::Value flip) { return flipNumbered(integer(flip)); });
  return options;
}

Napi::Value trainingTargetsToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]);
  TargetOptions options = targetOptionsFromJs(info[3].As<Napi::Object>());
  std::vector<uint8_t> mask = copied(imageFromJs(info[0], height, width, /*channels=*/1));
  return runOnPool<std::vector<TrainingTarget>>(
      info.Env(),
      [=, options = std::move(options), mask = std::move(mask)] {
        return trainingTargets(mask.data(), height, width, options);
      },
      [](Napi::Env env, std::vector<TrainingTarget>& targets) -> Napi::Value {
        return listToJs(env, targets, [env](const TrainingTarget& target) {
          Napi::Object out = Napi::Object::New(env);
          out.Set("mask", vectorToJs(env, target.mask));
          out.Set("weight", vectorToJs(env, target.weight));
          return out;
        });
      });
}

Napi::Value resizeMapToJs(const Napi::CallbackInfo& info) {
  const Napi::Float32Array map = info[0].As<Napi::Float32Array>();
  const int64_t height = integer(info[1]), width = integer(info[2]), toHeight = integer(info[3]),
                toWidth = integer(info[4]);
  check(isSize(height) && isSize(width) && isSize(toHeight) && isSize(toWidth), "map sizes must be at least 1");
  check(static_cast<int64_t>(map.ElementLength()) == height * width, "map data does not match its sizes");
  std::vector<float> values(map.Data(), map.Data() + map.ElementLength());
  return runOnPool<std::vector<float>>(
      info.Env(),
      [=, values = std::move(values)] {
        std::vector<float> out(toHeight * toWidth);
        resizeMap(values.data(), height, width, out.data(), toHeight, toWidth, /*alignCorners=*/false);
        return out;
      },
      [](Napi::Env env, std::vector<float>& out) { return vectorToJs(env, out); });
}

}  // namespace

void registerImages(Napi::Env env, Napi::Object exports) {
  addFunction<resizeImageToJs>(env, exports, "resizeImage");
  addFunction<flipImageToJs>(env, exports, "flipImage");
  addFunction<trainingTargetsToJs>(env, exports, "trainingTargets");
  addFunction<resizeMapToJs>(env, exports, "resizeMap");
}

}  // namespace ssn::addon

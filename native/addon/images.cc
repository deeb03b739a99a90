// Image operations and training targets. Promises run on the libuv pool. What belongs to the user is copied first,
// because JavaScript may change or transfer its buffers meanwhile; what lib/ has decoded is held where it lies.
#include "addon/convert.h"
#include "addon/held_array.h"
#include "addon/pool_worker.h"
#include "addon/register.h"
#include "anomalies/targets.h"
#include "images/frame.h"
#include "images/pixels.h"
#include "images/resize.h"

namespace ssn::addon {
namespace {

ResizeMethod methodFromJs(const Napi::Value& value) {
  return choice<ResizeMethod>("resize method", value.As<Napi::String>(),
                              {{"bilinear", ResizeMethod::bilinear},
                               {"antialias", ResizeMethod::antialias},
                               {"nearest", ResizeMethod::nearest}});
}

Flip flipNumbered(int64_t number) {
  check(number >= 0 && number <= 3, "a flip must be 0, 1, 2 or 3");
  return static_cast<Flip>(number);
}

Napi::Value resizeImageToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]), channels = integer(info[3]);
  const int64_t toHeight = integer(info[4]), toWidth = integer(info[5]);
  const ResizeMethod method = methodFromJs(info[6]);
  check(isSize(toHeight) && isSize(toWidth), "image sizes must be at least 1");
  const Napi::Uint8Array pixels = imageFromJs(info[0], height, width, channels);
  const HeldArray<uint8_t> from(pixels);
  return runOnPool<std::vector<uint8_t>>(
      info.Env(),
      [=] {
        std::vector<uint8_t> out(toHeight * toWidth * channels);
        resizeImage(from.data(), height, width, channels, out.data(), toHeight, toWidth, method);
        return out;
      },
      [](Napi::Env env, std::vector<uint8_t>& out) { return vectorToJs(env, out); });
}

// A camera's image, copied before this returns. Grey stays one channel until it has its size.
Napi::Value rgbFromFrameToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]), channels = integer(info[3]);
  const int64_t toHeight = integer(info[4]), toWidth = integer(info[5]);
  const ResizeMethod method = methodFromJs(info[6]);
  check(isSize(toHeight) && isSize(toWidth), "image sizes must be at least 1");
  const Napi::Uint8Array pixels = imageFromJs(info[0], height, width, channels);
  const HeldArray<uint8_t> out(arrayOf<uint8_t>(info.Env(), toHeight * toWidth * 3));
  return runOnPool<bool>(
      info.Env(),
      [=, frame = copiedFrame(pixels.Data(), pixels.ElementLength())]() mutable {
        if (height == toHeight && width == toWidth) {
          toRgb(frame.get(), height * width, channels, out.data());
        } else {
          std::vector<uint8_t> resized(toHeight * toWidth * channels);
          resizeImage(frame.get(), height, width, channels, resized.data(), toHeight, toWidth, method);
          toRgb(resized.data(), toHeight * toWidth, channels, out.data());
        }
        frame.reset();
        return true;
      },
      [out](Napi::Env, bool&) { return out.value(); });
}

template <class T>
Napi::Value markDefectsIn(const Napi::CallbackInfo& info) {
  const HeldArray<T> samples(info[0].As<Napi::TypedArrayOf<T>>());
  const int64_t channels = integer(info[1]);
  const int least = static_cast<int>(integer(info[2]));
  check(channels >= 1 && samples.length() % channels == 0, "samples do not fill the pixels");
  const HeldArray<uint8_t> out(arrayOf<uint8_t>(info.Env(), samples.length() / channels));
  return runOnPool<size_t>(
      info.Env(), [=] { return markDefects(samples.data(), out.length(), channels, least, out.data()); },
      [out](Napi::Env env, size_t& marked) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("pixels", out.value());
        result.Set("marked", static_cast<double>(marked));
        return result;
      });
}

Napi::Value markDefectsToJs(const Napi::CallbackInfo& info) {
  switch (info[0].As<Napi::TypedArray>().TypedArrayType()) {
    case napi_uint8_array:
      return markDefectsIn<uint8_t>(info);
    case napi_uint16_array:
      return markDefectsIn<uint16_t>(info);
    default:
      throw Error("INTERNAL", "samples must be bytes or 16-bit numbers");
  }
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
  const HeldArray<uint8_t> mask(imageFromJs(info[0], height, width, /*channels=*/1));
  return runOnPool<std::vector<TrainingTarget>>(
      info.Env(), [=, options = std::move(options)] { return trainingTargets(mask.data(), height, width, options); },
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
  const HeldArray<float> out(arrayOf<float>(info.Env(), toHeight * toWidth));
  return runOnPool<bool>(
      info.Env(),
      [=, values = std::move(values)] {
        resizeMap(values.data(), height, width, out.data(), toHeight, toWidth, /*alignCorners=*/false);
        return true;
      },
      [out](Napi::Env, bool&) { return out.value(); });
}

}  // namespace

void registerImages(Napi::Env env, Napi::Object exports) {
  addFunction<resizeImageToJs>(env, exports, "resizeImage");
  addFunction<rgbFromFrameToJs>(env, exports, "rgbFromFrame");
  addFunction<markDefectsToJs>(env, exports, "markDefects");
  addFunction<flipImageToJs>(env, exports, "flipImage");
  addFunction<trainingTargetsToJs>(env, exports, "trainingTargets");
  addFunction<resizeMapToJs>(env, exports, "resizeMap");
}

}  // namespace ssn::addon

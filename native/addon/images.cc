// Image operations and training targets. Promises run on the libuv pool. What belongs to the user is copied first,
// because JavaScript may change or transfer its buffers meanwhile; what lib/ has decoded is held where it lies.
#include "addon/convert.h"
#include "addon/held_array.h"
#include "addon/pool_worker.h"
#include "addon/register.h"
#include "anomalies/targets.h"
#include "images/bmp.h"
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

struct Conversion {
  int64_t height, width, channels, bitDepth, toHeight, toWidth;
  ResizeMethod method;

  size_t pixels() const { return static_cast<size_t>(height) * width; }
  bool resizes() const { return height != toHeight || width != toWidth; }
};

// 8-bit samples as RGB of the wanted size.
void convert(const uint8_t* image, const Conversion& to, uint8_t* out) {
  if (!to.resizes()) return toRgb(image, to.pixels(), to.channels, out);
  // Grey stays one channel until it has its size.
  std::vector<uint8_t> resized(to.toHeight * to.toWidth * to.channels);
  resizeImage(image, to.height, to.width, to.channels, resized.data(), to.toHeight, to.toWidth, to.method);
  toRgb(resized.data(), static_cast<size_t>(to.toHeight) * to.toWidth, to.channels, out);
}

PixelFacts convert(const uint16_t* samples, const Conversion& to, uint8_t* out) {
  std::vector<uint8_t> bytes(to.pixels() * to.channels);
  const int highest = toBytes(samples, bytes.size(), static_cast<int>(to.bitDepth), bytes.data());
  convert(bytes.data(), to, out);
  return {factsOf(bytes.data(), to.pixels(), to.channels).uniform, highest};
}

// `pixels`: what the promise resolves to, filled by `work`.
Napi::Value pixelsOnPool(Napi::Env env, const HeldArray<uint8_t>& pixels, std::function<PixelFacts()> work) {
  return runOnPool<PixelFacts>(env, std::move(work), [pixels](Napi::Env e, PixelFacts& facts) -> Napi::Value {
    Napi::Object out = Napi::Object::New(e);
    out.Set("pixels", pixels.value());
    out.Set("uniform", facts.uniform);
    out.Set("highest", facts.highest);
    return out;
  });
}

Napi::Value imageToRgbToJs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const auto options = info[1].As<Napi::Object>();
  const Conversion to{getInt(options, "height"),          getInt(options, "width"),    getInt(options, "channels"),
                      getInt(options, "bitDepth"),        getInt(options, "toHeight"), getInt(options, "toWidth"),
                      methodFromJs(options.Get("method"))};
  check(isSize(to.height) && isSize(to.width) && isSize(to.toHeight) && isSize(to.toWidth),
        "image sizes must be at least 1");
  check(to.channels == 1 || to.channels == 3 || to.channels == 4, "an image has 1, 3 or 4 channels");
  check(to.bitDepth >= 8 && to.bitDepth <= 16, "a bit depth lies between 8 and 16");
  const auto array = info[0].As<Napi::TypedArray>();
  check(array.ElementLength() == to.pixels() * to.channels, "image data does not match its sizes");
  const auto made = [&] { return HeldArray<uint8_t>(arrayOf<uint8_t>(env, to.toHeight * to.toWidth * 3)); };
  if (array.TypedArrayType() == napi_uint16_array) {
    const HeldArray<uint16_t> samples(array.As<Napi::Uint16Array>());
    const HeldArray<uint8_t> out = made();
    return pixelsOnPool(env, out, [=] { return convert(samples.data(), to, out.data()); });
  }
  check(array.TypedArrayType() == napi_uint8_array, "samples must be bytes or 16-bit numbers");
  const auto bytes = array.As<Napi::Uint8Array>();
  if (getBool(options, "copy")) {
    const HeldArray<uint8_t> out = made();
    return pixelsOnPool(env, out, [=, frame = copiedFrame(bytes.Data(), bytes.ElementLength())]() mutable {
      convert(frame.get(), to, out.data());
      const PixelFacts facts = factsOf(frame.get(), to.pixels(), to.channels);
      frame.reset();  // for the next one, before JavaScript hears of this one
      return facts;
    });
  }
  const HeldArray<uint8_t> image(bytes);
  if (to.channels == 3 && !to.resizes())
    return pixelsOnPool(env, image, [=] { return factsOf(image.data(), to.pixels(), 3); });
  const HeldArray<uint8_t> out = made();
  return pixelsOnPool(env, out, [=] {
    convert(image.data(), to, out.data());
    return factsOf(image.data(), to.pixels(), to.channels);
  });
}

Napi::Value cmykToRgbToJs(const Napi::CallbackInfo& info) {
  const HeldArray<uint8_t> cmyk(info[0].As<Napi::Uint8Array>());
  check(cmyk.length() % 4 == 0, "CMYK has 4 channels");
  const HeldArray<uint8_t> out(arrayOf<uint8_t>(info.Env(), cmyk.length() / 4 * 3));
  return runOnPool<bool>(
      info.Env(),
      [=] {
        cmykToRgb(cmyk.data(), cmyk.length() / 4, out.data());
        return true;
      },
      [out](Napi::Env, bool&) { return out.value(); });
}

Napi::Value bmpPixelsToJs(const Napi::CallbackInfo& info) {
  const HeldArray<uint8_t> file(info[0].As<Napi::Uint8Array>());
  const auto header = info[1].As<Napi::Object>();
  const auto order = listFromJs(header.Get("order"), integer);
  check(order.size() == 3, "a pixel has three colours");
  const BmpLayout layout{getInt(header, "width"),
                         getInt(header, "height"),
                         getInt(header, "bits"),
                         getBool(header, "topDown"),
                         getInt(header, "offset"),
                         getInt(header, "stride"),
                         order[0],
                         order[1],
                         order[2]};
  const int64_t end = bmpEnd(layout);
  check(end > 0 && end <= static_cast<int64_t>(file.length()), "the pixels lie outside the file");
  const HeldArray<uint8_t> palette(header.Get("palette").As<Napi::Uint8Array>());
  const HeldArray<uint8_t> out(arrayOf<uint8_t>(info.Env(), layout.width * layout.height * 3));
  return runOnPool<int>(
      info.Env(),
      [=] {
        return bmpPixels(file.data(), layout, palette.data(), static_cast<int64_t>(palette.length() / 3), out.data());
      },
      [out](Napi::Env env, int& highest) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("pixels", out.value());
        result.Set("highestIndex", highest);
        return result;
      });
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

Napi::Value brightnessCountsToJs(const Napi::CallbackInfo& info) {
  const HeldArray<uint8_t> rgb(info[0].As<Napi::Uint8Array>());
  check(rgb.length() % 3 == 0, "an RGB image has 3 channels");
  const HeldArray<uint32_t> counts(arrayOf<uint32_t>(info.Env(), 256));
  return runOnPool<bool>(
      info.Env(),
      [=] {
        countBrightness(rgb.data(), rgb.length() / 3, counts.data());
        return true;
      },
      [counts](Napi::Env, bool&) { return counts.value(); });
}

Napi::Value mergeMasksToJs(const Napi::CallbackInfo& info) {
  const HeldArray<uint8_t> into(info[0].As<Napi::Uint8Array>()), other(info[1].As<Napi::Uint8Array>());
  check(into.length() == other.length(), "masks differ in size");
  return runOnPool<size_t>(
      info.Env(), [=] { return mergeMasks(into.data(), other.data(), into.length()); },
      [into](Napi::Env env, size_t& marked) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("pixels", into.value());
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
  std::optional<HeldArray<uint8_t>> ignored;
  if (!info[4].IsUndefined()) ignored.emplace(imageFromJs(info[4], height, width, /*channels=*/1));
  return runOnPool<std::vector<TrainingTarget>>(
      info.Env(),
      [=, options = std::move(options)] {
        return trainingTargets(mask.data(), ignored ? ignored->data() : nullptr, height, width, options);
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
  addFunction<imageToRgbToJs>(env, exports, "imageToRgb");
  addFunction<cmykToRgbToJs>(env, exports, "cmykToRgb");
  addFunction<bmpPixelsToJs>(env, exports, "bmpPixels");
  addFunction<markDefectsToJs>(env, exports, "markDefects");
  addFunction<brightnessCountsToJs>(env, exports, "brightnessCounts");
  addFunction<mergeMasksToJs>(env, exports, "mergeMasks");
  addFunction<flipImageToJs>(env, exports, "flipImage");
  addFunction<trainingTargetsToJs>(env, exports, "trainingTargets");
  addFunction<resizeMapToJs>(env, exports, "resizeMap");
}

}  // namespace ssn::addon

// Threshold metrics and regions, on the libuv pool. Inputs are copied first: JavaScript may change or transfer its
// buffers meanwhile.
#include <algorithm>
#include <memory>

#include "addon/convert.h"
#include "addon/pool_worker.h"
#include "addon/register.h"
#include "error.h"
#include "metrics/curves.h"
#include "metrics/regions.h"

namespace ssn::addon {
namespace {

template <class T>
std::vector<T> copied(const Napi::Value& value, napi_typedarray_type type, int64_t length) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    throw Error("INTERNAL", "metrics: wrong type of array");
  const Napi::TypedArrayOf<T> array = value.As<Napi::TypedArrayOf<T>>();
  if (static_cast<int64_t>(array.ElementLength()) != length)
    throw Error("INTERNAL", "metrics: array does not match its sizes");
  return {array.Data(), array.Data() + array.ElementLength()};
}

int64_t lengthOf(const Napi::Value& value) {
  return value.IsTypedArray() ? value.As<Napi::TypedArray>().ElementLength() : -1;
}

// Also keeps height * width inside 31 bits.
void checkSizes(int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > (int64_t{1} << 31) - 1 || width > ((int64_t{1} << 31) - 1) / height)
    throw Error("INTERNAL", "metrics: map sizes out of range");
}

Napi::Object metricsToJs(Napi::Env env, const ImageMetrics& metrics) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("auroc", metrics.auroc);
  out.Set("averagePrecision", metrics.averagePrecision);
  out.Set("f1Max", metrics.f1Max);
  out.Set("f1Threshold", metrics.f1Threshold);
  return out;
}

Napi::Value imageMetricsToJs(const Napi::CallbackInfo& info) {
  const int64_t count = std::max<int64_t>(0, lengthOf(info[0]));
  std::vector<float> scores = copied<float>(info[0], napi_float32_array, count);
  std::vector<uint8_t> labels = copied<uint8_t>(info[1], napi_uint8_array, count);
  return runOnPool<ImageMetrics>(
      info.Env(),
      [=, scores = std::move(scores), labels = std::move(labels)] {
        return imageMetrics(scores.data(), labels.data(), count);
      },
      [](Napi::Env env, ImageMetrics& metrics) -> Napi::Value { return metricsToJs(env, metrics); });
}

Napi::Value pixelMetricsToJs(const Napi::CallbackInfo& info) {
  const Napi::Array maps = info[0].As<Napi::Array>(), masks = info[1].As<Napi::Array>();
  const int64_t height = integer(info[2]), width = integer(info[3]);
  const double fprLimit = info[4].As<Napi::Number>().DoubleValue();
  checkSizes(height, width);
  if (maps.Length() != masks.Length()) throw Error("INTERNAL", "metrics: as many masks as maps are needed");
  if (!(fprLimit > 0 && fprLimit <= 1))
    throw Error("INTERNAL", "metrics: the false-positive-rate limit must be in (0, 1]");
  auto labelled = std::make_shared<std::vector<LabelledMap>>();  // shared: std::function wants copyable captures
  labelled->reserve(maps.Length());
  for (uint32_t i = 0; i < maps.Length(); ++i) {
    const Napi::HandleScope scope(info.Env());
    labelled->push_back({copied<float>(maps.Get(i), napi_float32_array, height * width),
                         copied<uint8_t>(masks.Get(i), napi_uint8_array, height * width)});
  }
  return runOnPool<PixelMetrics>(
      info.Env(), [=] { return pixelMetrics(*labelled, height, width, fprLimit); },
      [](Napi::Env env, PixelMetrics& metrics) -> Napi::Value {
        Napi::Object out = metricsToJs(env, metrics);
        out.Set("aupro", metrics.aupro);
        out.Set("regions", static_cast<double>(metrics.regions));
        return out;
      });
}

Napi::Value regionsToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]);
  checkSizes(height, width);
  std::vector<float> map = copied<float>(info[0], napi_float32_array, height * width);
  const float threshold = info[3].As<Napi::Number>().FloatValue();
  const int64_t minArea = integer(info[4]);
  return runOnPool<Regions>(
      info.Env(), [=, map = std::move(map)] { return findRegions(map.data(), height, width, threshold, minArea); },
      [](Napi::Env env, Regions& found) -> Napi::Value {
        Napi::Object out = Napi::Object::New(env);
        out.Set("peak", found.peak);
        out.Set("regions", listToJs(env, found.regions, [env](const Region& region) {
                  Napi::Object object = Napi::Object::New(env);
                  object.Set("area", static_cast<double>(region.area));
                  object.Set("x", static_cast<double>(region.x));
                  object.Set("y", static_cast<double>(region.y));
                  object.Set("width", static_cast<double>(region.width));
                  object.Set("height", static_cast<double>(region.height));
                  object.Set("peak", region.peak);
                  object.Set("peakX", static_cast<double>(region.peakX));
                  object.Set("peakY", static_cast<double>(region.peakY));
                  return object;
                }));
        return out;
      });
}

}  // namespace

void registerMetrics(Napi::Env env, Napi::Object exports) {
  addFunction<imageMetricsToJs>(env, exports, "imageMetrics");
  addFunction<pixelMetricsToJs>(env, exports, "pixelMetrics");
  addFunction<regionsToJs>(env, exports, "regions");
}

}  // namespace ssn::addon

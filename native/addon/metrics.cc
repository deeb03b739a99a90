// Threshold metrics and regions, on the libuv pool. Whole maps are copied first: JavaScript may change or transfer its
// buffers meanwhile. Strips of maps are read where they lie.
#include <algorithm>
#include <memory>

#include "addon/convert.h"
#include "addon/environment.h"
#include "addon/held_array.h"
#include "addon/pool_worker.h"
#include "addon/register.h"
#include "error.h"
#include "metrics/curves.h"
#include "metrics/pixel_statistics.h"
#include "metrics/regions.h"

namespace ssn::addon {
namespace {

template <class T>
Napi::TypedArrayOf<T> arrayFromJs(const Napi::Value& value, napi_typedarray_type type, int64_t length) {
  check(value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type, "metrics: wrong type of array");
  const Napi::TypedArrayOf<T> array = value.As<Napi::TypedArrayOf<T>>();
  check(static_cast<int64_t>(array.ElementLength()) == length, "metrics: array does not match its sizes");
  return array;
}

template <class T>
std::vector<T> copied(const Napi::Value& value, napi_typedarray_type type, int64_t length) {
  const Napi::TypedArrayOf<T> array = arrayFromJs<T>(value, type, length);
  return {array.Data(), array.Data() + array.ElementLength()};
}

bool isAbsent(const Napi::Value& value) { return value.IsUndefined() || value.IsNull(); }

int64_t lengthOf(const Napi::Value& value) {
  return value.IsTypedArray() ? value.As<Napi::TypedArray>().ElementLength() : -1;
}

// Also keeps height * width inside 31 bits.
void checkSizes(int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > (int64_t{1} << 31) - 1 || width > ((int64_t{1} << 31) - 1) / height)
    throw Error("INTERNAL", "metrics: map sizes out of range");
}

double fprLimitFromJs(const Napi::Value& value) {
  const double limit = value.As<Napi::Number>().DoubleValue();
  check(limit > 0 && limit <= 1, "metrics: the false-positive-rate limit must be in (0, 1]");
  return limit;
}

Napi::Object metricsToJs(Napi::Env env, const ImageMetrics& metrics) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("auroc", metrics.auroc);
  out.Set("averagePrecision", metrics.averagePrecision);
  out.Set("f1Max", metrics.f1Max);
  out.Set("f1Threshold", metrics.f1Threshold);
  return out;
}

Napi::Object metricsToJs(Napi::Env env, const PixelMetrics& metrics) {
  Napi::Object out = metricsToJs(env, static_cast<const ImageMetrics&>(metrics));
  out.Set("aupro", metrics.aupro);
  out.Set("regions", static_cast<double>(metrics.regions));
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
  const bool ignoring = !isAbsent(info[5]);
  const int64_t height = integer(info[2]), width = integer(info[3]);
  const double fprLimit = fprLimitFromJs(info[4]);
  checkSizes(height, width);
  check(maps.Length() == masks.Length() && (!ignoring || info[5].As<Napi::Array>().Length() == maps.Length()),
        "metrics: as many masks as maps are needed");
  auto labelled = std::make_shared<std::vector<LabelledMap>>();  // shared: std::function wants copyable captures
  labelled->reserve(maps.Length());
  for (uint32_t i = 0; i < maps.Length(); ++i) {
    const Napi::HandleScope scope(info.Env());
    const Napi::Value ignore = ignoring ? info[5].As<Napi::Array>().Get(i) : info.Env().Null();
    labelled->push_back(
        {copied<float>(maps.Get(i), napi_float32_array, height * width),
         copied<uint8_t>(masks.Get(i), napi_uint8_array, height * width),
         isAbsent(ignore) ? std::vector<uint8_t>() : copied<uint8_t>(ignore, napi_uint8_array, height * width)});
  }
  return runOnPool<PixelMetrics>(
      info.Env(), [=] { return pixelMetrics(*labelled, height, width, fprLimit); },
      [](Napi::Env env, PixelMetrics& metrics) -> Napi::Value { return metricsToJs(env, metrics); });
}

Napi::Value foundToJs(Napi::Env env, const Regions& found) {
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
}

Napi::Value regionsToJs(const Napi::CallbackInfo& info) {
  const int64_t height = integer(info[1]), width = integer(info[2]);
  checkSizes(height, width);
  std::vector<float> map = copied<float>(info[0], napi_float32_array, height * width);
  const float threshold = info[3].As<Napi::Number>().FloatValue();
  const int64_t minArea = integer(info[4]);
  return runOnPool<Regions>(
      info.Env(), [=, map = std::move(map)] { return findRegions(map.data(), height, width, threshold, minArea); },
      [](Napi::Env env, Regions& found) -> Napi::Value { return foundToJs(env, found); });
}

struct None {};  // the result of a job without one

// An object of lib/native/binding.ts that takes a map strip by strip. Its jobs run on the pool one after the other.
template <class Native>
class StripJobs {
 public:
  using Handle = std::shared_ptr<Native>;

  void start(const Napi::Value& external) { native_ = *external.As<Napi::External<Handle>>().Data(); }

  // A job that failed may have left the object half changed, so it was the last one.
  template <class Result, class Job, class Convert>
  Napi::Value run(Napi::Env env, Job job, Convert convert) {
    checkIdle();
    *busy_ = true;
    return runOnPool<Result>(
        env, [native = native_, job = std::move(job)]() mutable { return job(*native); },
        [busy = busy_, convert = std::move(convert)](Napi::Env e, Result& result) -> Napi::Value {
          *busy = false;
          return convert(e, result);
        });
  }
  template <class Job>
  Napi::Value run(Napi::Env env, Job job) {
    const auto nothing = [](Napi::Env e, None&) -> Napi::Value { return e.Undefined(); };
    return run<None>(env, [job = std::move(job)](Native& native) { return job(native), None(); }, nothing);
  }

  const Native& idle() const {
    checkIdle();
    return *native_;
  }
  void dispose() { native_.reset(); }  // a job in flight holds it

 private:
  void checkIdle() const {
    check(native_ != nullptr, "metrics: the object was disposed of, or has finished");
    check(!*busy_, "metrics: the call before has not ended, or has failed");
  }

  Handle native_;
  std::shared_ptr<bool> busy_ = std::make_shared<bool>(false);  // only used on JavaScript's thread
};

// Read where it lies; null if there is none.
class HeldMask {
 public:
  HeldMask(const Napi::Value& value, int64_t pixels) {
    if (!isAbsent(value)) array_.emplace(arrayFromJs<uint8_t>(value, napi_uint8_array, pixels));
  }
  const uint8_t* data() const { return array_ ? array_->data() : nullptr; }

 private:
  std::optional<HeldArray<uint8_t>> array_;
};

class NativeRegionFinder : public Napi::ObjectWrap<NativeRegionFinder> {
 public:
  // Guarded, as the functions of register.h are.
  template <Napi::Value (NativeRegionFinder::*Method)(const Napi::CallbackInfo&)>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return (this->*Method)(info); });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeRegionFinder",
                       {InstanceMethod<&NativeRegionFinder::call<&NativeRegionFinder::addRows>>("addRows"),
                        InstanceMethod<&NativeRegionFinder::call<&NativeRegionFinder::finish>>("finish"),
                        InstanceMethod<&NativeRegionFinder::call<&NativeRegionFinder::dispose>>("dispose")});
  }

  explicit NativeRegionFinder(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeRegionFinder>(info) {
    jobs_.start(info[0]);
  }

 private:
  Napi::Value addRows(const Napi::CallbackInfo& info) {
    const int64_t width = jobs_.idle().width(), rows = integer(info[1]);
    checkSizes(rows, width);
    const HeldArray<float> map(arrayFromJs<float>(info[0], napi_float32_array, rows * width));
    const HeldMask ignore(info[2], rows * width);
    return jobs_.run(info.Env(), [=](RegionFinder& finder) { finder.addRows(map.data(), ignore.data(), rows); });
  }

  Napi::Value finish(const Napi::CallbackInfo& info) {
    const Napi::Value promise = jobs_.run<std::vector<Regions>>(
        info.Env(), [](RegionFinder& finder) { return finder.finish(); },
        [](Napi::Env env, std::vector<Regions>& found) -> Napi::Value {
          return listToJs(env, found, [env](const Regions& regions) { return foundToJs(env, regions); });
        });
    jobs_.dispose();
    return promise;
  }

  Napi::Value dispose(const Napi::CallbackInfo& info) {
    jobs_.dispose();
    return info.Env().Undefined();
  }

  StripJobs<RegionFinder> jobs_;
};

Napi::Value createRegionFinder(const Napi::CallbackInfo& info) {
  const auto options = info[0].As<Napi::Object>();
  const int64_t width = getInt(options, "width");
  check(isSize(width), "metrics: map sizes out of range");
  check(options.Get("thresholds").IsArray(), "metrics: thresholds must be a list");
  const auto thresholds = listFromJs(options.Get("thresholds"), [](const Napi::Value& value) {
    check(value.IsNumber(), "metrics: a threshold must be a number");
    return value.As<Napi::Number>().FloatValue();
  });
  auto handle = std::make_shared<RegionFinder>(width, thresholds, getInt(options, "minArea"));
  return Environment::of(info.Env())
      .regionFinder.New({Napi::External<std::shared_ptr<RegionFinder>>::New(info.Env(), &handle)});
}

class NativePixelStatistics : public Napi::ObjectWrap<NativePixelStatistics> {
 public:
  template <Napi::Value (NativePixelStatistics::*Method)(const Napi::CallbackInfo&)>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return (this->*Method)(info); });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativePixelStatistics",
                       {InstanceMethod<&NativePixelStatistics::call<&NativePixelStatistics::addRows>>("addRows"),
                        InstanceMethod<&NativePixelStatistics::call<&NativePixelStatistics::endImage>>("endImage"),
                        InstanceMethod<&NativePixelStatistics::call<&NativePixelStatistics::metrics>>("metrics"),
                        InstanceMethod<&NativePixelStatistics::call<&NativePixelStatistics::dispose>>("dispose")});
  }

  explicit NativePixelStatistics(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativePixelStatistics>(info) {
    jobs_.start(info[0]);
    memory_.set(info.Env(), jobs_.idle().bytes());
  }

  // Public: node-addon-api looks for it.
  void Finalize(Napi::Env env) override { release(env); }

 private:
  Napi::Value addRows(const Napi::CallbackInfo& info) {
    memory_.set(info.Env(), jobs_.idle().bytes());  // as the calls before have left it
    const int64_t width = integer(info[1]), rows = integer(info[2]);
    checkSizes(rows, width);
    const HeldArray<float> map(arrayFromJs<float>(info[0], napi_float32_array, rows * width));
    const HeldMask mask(info[3], rows * width), ignore(info[4], rows * width);
    return jobs_.run(info.Env(), [=](PixelStatistics& statistics) {
      statistics.addRows(map.data(), mask.data(), ignore.data(), width, rows);
    });
  }

  Napi::Value endImage(const Napi::CallbackInfo& info) {
    return jobs_.run(info.Env(), [](PixelStatistics& statistics) { statistics.endImage(); });
  }

  Napi::Value metrics(const Napi::CallbackInfo& info) {
    return jobs_.run<BoundedPixelMetrics>(
        info.Env(),
        [limit = fprLimitFromJs(info[0])](PixelStatistics& statistics) { return statistics.metrics(limit); },
        [](Napi::Env env, BoundedPixelMetrics& bounded) -> Napi::Value {
          Napi::Object out = metricsToJs(env, bounded.metrics), bounds = Napi::Object::New(env);
          bounds.Set("auroc", bounded.errorBound.auroc);
          bounds.Set("averagePrecision", bounded.errorBound.averagePrecision);
          bounds.Set("f1Max", bounded.errorBound.f1Max);
          bounds.Set("aupro", bounded.errorBound.aupro);
          out.Set("errorBound", bounds);
          return out;
        });
  }

  Napi::Value dispose(const Napi::CallbackInfo& info) {
    release(info.Env());
    return info.Env().Undefined();
  }

  void release(Napi::Env env) {
    memory_.set(env, 0);
    jobs_.dispose();
  }

  StripJobs<PixelStatistics> jobs_;
  ExternalMemory memory_;
};

Napi::Value createPixelStatistics(const Napi::CallbackInfo& info) {
  auto handle = std::make_shared<PixelStatistics>();
  return Environment::of(info.Env())
      .pixelStatistics.New({Napi::External<std::shared_ptr<PixelStatistics>>::New(info.Env(), &handle)});
}

}  // namespace

void registerMetrics(Napi::Env env, Napi::Object exports) {
  Environment::of(env).regionFinder = Napi::Persistent(NativeRegionFinder::define(env));
  Environment::of(env).pixelStatistics = Napi::Persistent(NativePixelStatistics::define(env));
  addFunction<imageMetricsToJs>(env, exports, "imageMetrics");
  addFunction<pixelMetricsToJs>(env, exports, "pixelMetrics");
  addFunction<regionsToJs>(env, exports, "regions");
  addFunction<createRegionFinder>(env, exports, "createRegionFinder");
  addFunction<createPixelStatistics>(env, exports, "createPixelStatistics");
}

}  // namespace ssn::addon

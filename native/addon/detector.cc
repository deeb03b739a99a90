// NativeDetector of lib/native/binding.ts.
#include <ATen/ops/empty.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "addon/convert.h"
#include "addon/engine_thread.h"
#include "addon/environment.h"
#include "addon/network.h"
#include "addon/register.h"
#include "detection/detector.h"
#include "error.h"
#include "memory.h"

namespace ssn::addon {
namespace {

class NativeDetector : public Napi::ObjectWrap<NativeDetector> {
 public:
  using Handle = std::shared_ptr<Detector>;

  // Guarded, as the functions of register.h are.
  template <Napi::Value (NativeDetector::*Method)(const Napi::CallbackInfo&)>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return (this->*Method)(info); });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeDetector",
                       {InstanceMethod<&NativeDetector::call<&NativeDetector::detect>>("detect"),
                        InstanceMethod<&NativeDetector::call<&NativeDetector::dispose>>("dispose")});
  }

  explicit NativeDetector(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeDetector>(info) {
    const auto handle = info[0].As<Napi::External<std::pair<Handle, DetectorConfig>>>();
    detector_ = handle.Data()->first;
    height_ = handle.Data()->second.imageHeight;
    width_ = handle.Data()->second.imageWidth;
    cuda_ = handle.Data()->second.device.is_cuda();
    memory_.set(info.Env(), detector_->bytes());
  }

  // Public: node-addon-api looks for it.
  void Finalize(Napi::Env env) override { release(env); }

 private:
  Napi::Value detect(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (!detector_) throw Error("INTERNAL", "the detector was disposed");
    const auto array = info[0].As<Napi::Uint8Array>();
    // Page-locked for a GPU, which then fetches it by itself.
    at::Tensor pixels = at::empty({info[1].As<Napi::Number>().Int64Value(), height_, width_, 3},
                                  at::TensorOptions().dtype(at::kByte).pinned_memory(cuda_));
    filled(pixels, array, "the images do not have the model's size");
    return runOnEngine<Detector::Output>(
        env, [detector = detector_, pixels] { return detector->detect(pixels); },
        [](Napi::Env e, Detector::Output& output) {
          Napi::Object out = Napi::Object::New(e);
          out.Set("scores", float32ToJs(e, output.scores));
          out.Set("maps", float32ToJs(e, output.maps));
          return out;
        });
  }

  Napi::Value dispose(const Napi::CallbackInfo& info) {
    release(info.Env());
    return info.Env().Undefined();
  }

  // Jobs in flight hold the detector until they end.
  void release(Napi::Env env) {
    memory_.set(env, 0);
    if (cuda_) EngineThread::of(env).discard(env, std::move(detector_));
    detector_.reset();
  }

  Handle detector_;
  ExternalMemory memory_;
  int64_t height_, width_;
  bool cuda_;
};

Napi::Value createDetector(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  using Made = std::pair<NativeDetector::Handle, DetectorConfig>;
  return runOnEngine<Made>(
      env,
      [config = detectorConfigFromJs(info[0].As<Napi::Object>()), backbone = tensorMapFromJs(info[1]),
       heads = tensorMapFromJs(info[2])] {
        // What folding needs for a moment is used again, and the weights lie on huge pages, which are faster to get.
        const RecyclingUser user;
        const RecyclingScope recycled;
        Made made{std::make_shared<Detector>(config, backbone, heads), config};
#ifdef __GLIBC__
        malloc_trim(0);  // folding leaves free blocks of the weights' size behind: the allocator would keep them
#endif
        return made;
      },
      [](Napi::Env e, Made& made) { return Environment::of(e).detector.New({Napi::External<Made>::New(e, &made)}); });
}

}  // namespace

void registerDetector(Napi::Env env, Napi::Object exports) {
  Environment::of(env).detector = Napi::Persistent(NativeDetector::define(env));
  addFunction<createDetector>(env, exports, "createDetector");
}

}  // namespace ssn::addon

// NativeTrainer of lib/native/binding.ts, and the functions that make and check networks.
#include <ATen/ops/empty.h>

#include <atomic>
#include <map>

#include "addon/convert.h"
#include "addon/engine_thread.h"
#include "addon/environment.h"
#include "addon/network.h"
#include "addon/register.h"
#include "error.h"
#include "training/product_speed.h"
#include "training/trainer.h"

namespace ssn::addon {
namespace {

at::Tensor bytesFromJs(const Napi::Value& value, std::vector<int64_t> shape) {
  return filled(at::empty(shape, at::kByte), value.As<Napi::Uint8Array>(), "an image does not have the model's size");
}

at::Tensor planeFromJs(const Napi::Value& value, FeatureShape shape) {
  if (value.IsUndefined()) return {};
  return filled(at::empty({shape.height, shape.width}, at::kFloat), value.As<Napi::Float32Array>(),
                "a target does not have the features' size");
}

Napi::Value lossListToJs(Napi::Env env, std::vector<StepLosses>& losses) {
  return listToJs(env, losses, [env](const StepLosses& each) { return lossesToJs(env, each); });
}

class NativeTrainer : public Napi::ObjectWrap<NativeTrainer> {
 public:
  using Handle = std::shared_ptr<Trainer>;

  // Guarded, as the functions of register.h are.
  template <Napi::Value (NativeTrainer::*Method)(const Napi::CallbackInfo&)>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] { return (this->*Method)(info); });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeTrainer",
                       {
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::setTargets>>("setTargets"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::clearTargets>>("clearTargets"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::missing>>("missing"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::cacheReport>>("cacheReport"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::plan>>("plan"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::step>>("step"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::halt>>("halt"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::finishSteps>>("finishSteps"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::observeFeatures>>("observeFeatures"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::featureStd>>("featureStd"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::setNoiseStd>>("setNoiseStd"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::scores>>("scores"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::state>>("state"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::restore>>("restore"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::shareState>>("shareState"),
                           InstanceMethod<&NativeTrainer::call<&NativeTrainer::dispose>>("dispose"),
                       });
  }

  explicit NativeTrainer(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeTrainer>(info) {
    const auto handle = info[0].As<Napi::External<std::pair<Handle, TrainerConfig>>>();
    trainer_ = handle.Data()->first;
    config_ = handle.Data()->second;
    trainer(info.Env());
  }

  // Public: node-addon-api looks for it.
  void Finalize(Napi::Env env) override { release(env); }

 private:
  // Every use tells V8 how far the feature cache has grown.
  Handle trainer(Napi::Env env) {
    if (!trainer_) throw Error("INTERNAL", "the trainer was disposed");
    memory_.set(env, trainer_->bytes());
    return trainer_;
  }

  std::vector<StepItem> itemsFromJs(const Napi::Value& value) const {
    return listFromJs(value, [this](Napi::Value each) {
      const auto object = each.As<Napi::Object>();
      StepItem item{getInt(object, "key"), {}, {}};
      const Napi::Value pixels = object.Get("pixels");
      if (!pixels.IsUndefined()) item.pixels = bytesFromJs(pixels, {config_.imageHeight, config_.imageWidth, 3});
      if (const Napi::Value content = object.Get("content"); !content.IsUndefined())
        item.content = digestFromJs(content);
      item.once = isDefined(object, "once") && getBool(object, "once");
      return item;
    });
  }

  Napi::Value setTargets(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    const FeatureShape shape = trainer(env)->shape();
    auto targets = listFromJs(info[0], [shape](Napi::Value each) {
      const auto object = each.As<Napi::Object>();
      return std::pair(getInt(object, "key"),
                       TrainingImage{getNumber(object, "label"), getBool(object, "segmented") ? 1.0 : 0.0,
                                     planeFromJs(object.Get("mask"), shape), planeFromJs(object.Get("weight"), shape)});
    });
    return runOnEngine(env, [trainer = trainer(env), targets = std::move(targets)] {
      for (const auto& [key, target] : targets) trainer->setTarget(key, target);
    });
  }

  Napi::Value clearTargets(const Napi::CallbackInfo& info) {
    return runOnEngine(info.Env(), [trainer = trainer(info.Env())] { trainer->clearTargets(); });
  }

  Napi::Value missing(const Napi::CallbackInfo& info) {
    const auto keys = info[0].As<Napi::Array>();
    Napi::Array out = Napi::Array::New(info.Env());
    const Handle handle = trainer(info.Env());
    for (uint32_t i = 0; i < keys.Length(); ++i) {
      const Napi::Value key = keys.Get(i);
      if (!handle->cached(integer(key))) out.Set(out.Length(), key);
    }
    return out;
  }

  Napi::Value cacheReport(const Napi::CallbackInfo& info) {
    return runOnEngine<FeatureCache::Report>(
        info.Env(), [trainer = trainer(info.Env())] { return trainer->cacheReport(); },
        [](Napi::Env e, FeatureCache::Report& report) {
          Napi::Object out = Napi::Object::New(e);
          out.Set("memory", static_cast<double>(report.memory));
          out.Set("host", static_cast<double>(report.host));
          out.Set("file", static_cast<double>(report.file));
          out.Set("computed", static_cast<double>(report.computed));
          out.Set("warnings", listToJs(e, report.warnings, [e](const Warning& warning) {
                    return Failure{/*code=*/"", warning.message, /*path=*/"", warning.remedy}.toJs(e);
                  }));
          return out;
        });
  }

  // Undefined: the whole batch.
  static Share shareFromJs(const Napi::Value& value, size_t images) {
    if (value.IsUndefined()) return {0, static_cast<int64_t>(images)};
    return {getInt(value.As<Napi::Object>(), "first"), getInt(value.As<Napi::Object>(), "total")};
  }

  Napi::Value plan(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    auto steps = listFromJs(info[0], [](Napi::Value each) {
      const auto object = each.As<Napi::Object>();
      Trainer::Plan step{getInt(object, "index"), listFromJs(object.Get("keys"), integer), {}};
      step.share = shareFromJs(object.Get("share"), step.keys.size());
      return step;
    });
    return runOnEngine(env, [trainer = trainer(env), steps = std::move(steps)] { trainer->plan(steps); });
  }

  Napi::Value step(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    const auto options = info[0].As<Napi::Object>();
    auto items = itemsFromJs(options.Get("items"));
    const Share share = shareFromJs(options.Get("share"), items.size());
    const bool chained = isDefined(options, "chained") && getBool(options, "chained");
    const double noiseScale = isDefined(options, "noiseScale") ? getNumber(options, "noiseScale") : 1.0;
    if (!chained) *halted_ = false;  // here, so that a halt() after this call holds
    return runOnEngine<std::vector<StepLosses>>(
        env,
        [trainer = trainer(env), index = getInt(options, "index"), items = std::move(items), share, chained,
         rates = learningRatesFromJs(options), noiseScale, halted = halted_] {
          if (*halted)
            throw Error("ABORTED", "the step was not made: the one before it failed, or the steps were halted");
          try {
            return trainer->step(index, items, share, rates, noiseScale);
          } catch (...) {
            *halted = true;
            throw;
          }
        },
        lossListToJs);
  }

  Napi::Value halt(const Napi::CallbackInfo& info) {
    *halted_ = true;
    return info.Env().Undefined();
  }

  Napi::Value finishSteps(const Napi::CallbackInfo& info) {
    return runOnEngine<std::vector<StepLosses>>(
        info.Env(), [trainer = trainer(info.Env())] { return trainer->finishSteps(); }, lossListToJs);
  }

  Napi::Value observeFeatures(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    return runOnEngine(env, [trainer = trainer(env), items = itemsFromJs(info[0])] { trainer->observe(items); });
  }

  Napi::Value featureStd(const Napi::CallbackInfo& info) {
    return runOnEngine<std::vector<float>>(
        info.Env(), [trainer = trainer(info.Env())] { return trainer->featureStd(); },
        [](Napi::Env e, std::vector<float>& std) { return vectorToJs(e, std); });
  }

  Napi::Value setNoiseStd(const Napi::CallbackInfo& info) {
    return runOnEngine(
        info.Env(), [trainer = trainer(info.Env()), noise = float32FromJs(info[0])] { trainer->setNoiseStd(noise); });
  }

  Napi::Value scores(const Napi::CallbackInfo& info) {
    return runOnEngine<std::vector<float>>(
        info.Env(), [trainer = trainer(info.Env()), items = itemsFromJs(info[0])] { return trainer->scores(items); },
        [](Napi::Env e, std::vector<float>& scores) { return vectorToJs(e, scores); });
  }

  Napi::Value state(const Napi::CallbackInfo& info) {
    return runOnEngine<Trainer::State>(
        info.Env(), [trainer = trainer(info.Env())] { return trainer->state(); },
        [](Napi::Env e, Trainer::State& state) {
          Napi::Object out = Napi::Object::New(e);
          out.Set("heads", tensorMapToJs(e, state.heads));
          out.Set("optimizer", tensorMapToJs(e, state.optimizer));
          return out;
        });
  }

  Napi::Value restore(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    const auto object = info[0].As<Napi::Object>();
    return runOnEngine(env, [trainer = trainer(env), state = Trainer::State{tensorMapFromJs(object.Get("heads")),
                                                                            tensorMapFromJs(object.Get("optimizer"))}] {
      trainer->restore(state);
    });
  }

  Napi::Value shareState(const Napi::CallbackInfo& info) {
    return runOnEngine(info.Env(), [trainer = trainer(info.Env())] { trainer->shareState(); });
  }

  Napi::Value dispose(const Napi::CallbackInfo& info) {
    release(info.Env());
    return info.Env().Undefined();
  }

  // Jobs in flight hold the trainer until they end.
  void release(Napi::Env env) {
    memory_.set(env, 0);
    if (config_.device.is_cuda()) EngineThread::of(env).discard(env, std::move(trainer_));
    trainer_.reset();
  }

  Handle trainer_;
  // No chained step runs. Shared with the steps that are queued.
  std::shared_ptr<std::atomic<bool>> halted_ = std::make_shared<std::atomic<bool>>(false);
  ExternalMemory memory_;
  TrainerConfig config_;
};

Napi::Value createTrainer(const Napi::CallbackInfo& info) { return createTrainerIn(nullptr, info); }

Napi::Value shapesToJs(Napi::Env env, const std::map<std::string, std::vector<int64_t>>& shapes) {
  Napi::Object out = Napi::Object::New(env);
  for (const auto& [name, shape] : shapes) out.Set(name, shapeToJs(env, shape));
  return out;
}

Napi::Value backboneTensorsToJs(const Napi::CallbackInfo& info) {
  return shapesToJs(info.Env(), backboneTensors(architectureNamed(info[0].As<Napi::String>())));
}

Napi::Value headTensorsToJs(const Napi::CallbackInfo& info) {
  return shapesToJs(info.Env(), headTensors(integer(info[0]), headLayoutFromJs(info[1])));
}

Napi::Value featureShapeToJs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const FeatureShape shape = featureShape(networkConfigFromJs(info[0].As<Napi::Object>()));
  Napi::Object out = Napi::Object::New(env);
  out.Set("channels", static_cast<double>(shape.channels));
  out.Set("height", static_cast<double>(shape.height));
  out.Set("width", static_cast<double>(shape.width));
  return out;
}

Napi::Value tensorsOnEngine(Napi::Env env, std::function<TensorMap()> make) {
  return runOnEngine<TensorMap>(env, std::move(make),
                                [](Napi::Env e, TensorMap& tensors) { return tensorMapToJs(e, tensors); });
}

Napi::Value productSpeedToJs(const Napi::CallbackInfo& info) {
  return runOnEngine<ProductSpeed>(info.Env(), measureProducts, [](Napi::Env e, ProductSpeed& speed) {
    Napi::Object out = Napi::Object::New(e);
    out.Set("float32Ms", speed.float32Ms);
    out.Set("bfloat16Ms", speed.bfloat16Ms);
    return out;
  });
}

Napi::Value randomBackboneToJs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const Architecture& architecture = architectureNamed(info[0].As<Napi::String>());
  return tensorsOnEngine(env, [&architecture, seed = integer(info[1])] {
    return randomBackbone(architecture, static_cast<uint64_t>(seed));
  });
}

Napi::Value randomHeadsToJs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return tensorsOnEngine(env,
                         [channels = integer(info[0]), seed = integer(info[1]), layout = headLayoutFromJs(info[2])] {
                           return randomHeads(channels, layout, static_cast<uint64_t>(seed));
                         });
}

}  // namespace

Napi::Value createTrainerIn(std::shared_ptr<Group> group, const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  using Made = std::pair<NativeTrainer::Handle, TrainerConfig>;
  return runOnEngine<Made>(
      env,
      [config = trainerConfigFromJs(info[0].As<Napi::Object>()), backbone = tensorMapFromJs(info[1]),
       heads = tensorMapFromJs(info[2]),
       group = std::move(group)] { return Made{std::make_shared<Trainer>(config, backbone, heads, group), config}; },
      [](Napi::Env e, Made& made) { return Environment::of(e).trainer.New({Napi::External<Made>::New(e, &made)}); });
}

void registerTrainer(Napi::Env env, Napi::Object exports) {
  Environment::of(env).trainer = Napi::Persistent(NativeTrainer::define(env));
  addFunction<createTrainer>(env, exports, "createTrainer");
  addFunction<productSpeedToJs>(env, exports, "productSpeed");
  addFunction<backboneTensorsToJs>(env, exports, "backboneTensors");
  addFunction<featureShapeToJs>(env, exports, "featureShape");
  addFunction<randomBackboneToJs>(env, exports, "randomBackbone");
  addFunction<headTensorsToJs>(env, exports, "headTensors");
  addFunction<randomHeadsToJs>(env, exports, "randomHeads");
}

}  // namespace ssn::addon

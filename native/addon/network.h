// Options objects of lib/native/binding.ts as the structs of the engine.
#pragma once

#include <napi.h>

#include "network_config.h"
#include "training/trainer.h"

namespace ssn::addon {

HeadLayout headLayoutFromJs(const Napi::Value& options);  // undefined: the standard one
NetworkConfig networkConfigFromJs(const Napi::Object& options);
EngineConfig engineConfigFromJs(const Napi::Object& options);
DetectorConfig detectorConfigFromJs(const Napi::Object& options);
TrainerConfig trainerConfigFromJs(const Napi::Object& options);
LearningRates learningRatesFromJs(const Napi::Object& options);
Napi::Object lossesToJs(Napi::Env env, const StepLosses& losses);
at::Tensor float32FromJs(const Napi::Value& value);  // Float32Array, copied
Digest digestFromJs(const Napi::Value& value);       // Uint8Array of 32 bytes

}  // namespace ssn::addon

// Tensors and typed arrays. JavaScript's form of a tensor is {dtype, shape, data} (NativeTensor in lib/native/binding.ts).
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <string>
#include <vector>

#include "tensor_map.h"

namespace ssn::addon {

// Copies: JavaScript may change or detach its buffers while the engine thread works.
at::Tensor tensorFromJs(const Napi::Value& value);
TensorMap tensorMapFromJs(const Napi::Value& value);

// Shares memory: the array buffer's finaliser holds the (contiguous, CPU) tensor.
Napi::Value tensorToJs(Napi::Env env, const at::Tensor& tensor);
Napi::Value tensorMapToJs(Napi::Env env, const TensorMap& tensors);
// The data alone, as Float32Array (the tensor must be float32).
Napi::Value float32ToJs(Napi::Env env, const at::Tensor& tensor);

// A vector handed over without a copy, as a typed array.
Napi::Value vectorToJs(Napi::Env env, std::vector<float> values);
Napi::Value vectorToJs(Napi::Env env, std::vector<uint8_t> values);
Napi::Value vectorToJs(Napi::Env env, std::vector<int32_t> values);

// Required fields of an options object; lib/ has validated them, so a miss is a bug and throws TypeError.
std::string getString(const Napi::Object& object, const char* name);
double getNumber(const Napi::Object& object, const char* name);
int64_t getInt(const Napi::Object& object, const char* name);
bool getBool(const Napi::Object& object, const char* name);
std::vector<std::string> getStrings(const Napi::Object& object, const char* name);

}  // namespace ssn::addon

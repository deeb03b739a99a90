// Tensors and typed arrays. JavaScript's form of a tensor is {dtype, shape, data} (NativeTensor in
// lib/native/binding.ts).
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <string>
#include <vector>

#include "tensor_map.h"

namespace ssn::addon {

// Copies: JavaScript may change or detach its buffers while the engine thread works.
// WEIGHTS_INVALID, with the name, for data of another type or length than it says.
at::Tensor tensorFromJs(const Napi::Value& value, const std::string& name = "");
TensorMap tensorMapFromJs(const Napi::Value& value);

// May share memory with the tensor, if that is contiguous and on the CPU: it is not to be changed.
Napi::Value tensorToJs(Napi::Env env, const at::Tensor& tensor);
Napi::Value tensorMapToJs(Napi::Env env, const TensorMap& tensors);
// The data alone, copied into a Float32Array (the tensor must be float32).
Napi::Value float32ToJs(Napi::Env env, const at::Tensor& tensor);

// Copied into a typed array, which can be transferred to another thread.
Napi::Value vectorToJs(Napi::Env env, const std::vector<float>& values);
Napi::Value vectorToJs(Napi::Env env, const std::vector<uint8_t>& values);

// Required fields of an options object; lib/ has validated them, so a miss is a bug and throws TypeError.
std::string getString(const Napi::Object& object, const char* name);
double getNumber(const Napi::Object& object, const char* name);
int64_t getInt(const Napi::Object& object, const char* name);
bool getBool(const Napi::Object& object, const char* name);
std::vector<std::string> getStrings(const Napi::Object& object, const char* name);

}  // namespace ssn::addon

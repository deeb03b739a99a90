// Tensors and typed arrays. JavaScript's form of a tensor is {dtype, shape, data} (NativeTensor in
// lib/native/binding.ts).
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "tensor_map.h"

namespace ssn::addon {

// Copies: JavaScript may change or detach its buffers while the engine thread works.
// WEIGHTS_INVALID, with the name, for data of another type or length than it says.
at::Tensor tensorFromJs(const Napi::Value& value, const std::string& name = "");
TensorMap tensorMapFromJs(const Napi::Value& value);

// May share memory with a tensor that is contiguous and on the CPU: do not change the tensor afterwards.
Napi::Value tensorToJs(Napi::Env env, const at::Tensor& tensor);
Napi::Value tensorMapToJs(Napi::Env env, const TensorMap& tensors);
// The data alone, copied into a Float32Array (the tensor must be float32).
Napi::Value float32ToJs(Napi::Env env, const at::Tensor& tensor);

// Copied into a typed array, which can be transferred to another thread.
Napi::Value vectorToJs(Napi::Env env, const std::vector<float>& values);
Napi::Value vectorToJs(Napi::Env env, const std::vector<uint8_t>& values);

// lib/ has validated what crosses the boundary. What is wrong here is a bug: Error("INTERNAL").
void check(bool ok, const std::string& what);
inline bool isDefined(const Napi::Object& object, const char* name) { return !object.Get(name).IsUndefined(); }
inline int64_t integer(const Napi::Value& value) { return value.As<Napi::Number>().Int64Value(); }
bool isSize(int64_t size);  // 1 to 2^31 - 1, which keeps every product of two sizes inside int64
// The bytes of an image after checking that they are as many as its sizes say.
Napi::Uint8Array imageFromJs(const Napi::Value& value, int64_t height, int64_t width, int64_t channels);

// The value that a name stands for.
template <class Value>
Value choice(const char* what, const std::string& name, std::initializer_list<std::pair<const char*, Value>> choices) {
  for (const auto& [known, value] : choices)
    if (name == known) return value;
  throw Error("INTERNAL", std::string("unknown ") + what + " '" + name + "'");
}

// Required fields of an options object.
std::string getString(const Napi::Object& object, const char* name);
double getNumber(const Napi::Object& object, const char* name);
int64_t getInt(const Napi::Object& object, const char* name);
bool getBool(const Napi::Object& object, const char* name);
std::vector<std::string> getStrings(const Napi::Object& object, const char* name);
template <class Value>
Value getChoice(const Napi::Object& object, const char* name,
                std::initializer_list<std::pair<const char*, Value>> choices) {
  return choice(name, getString(object, name), choices);
}

}  // namespace ssn::addon

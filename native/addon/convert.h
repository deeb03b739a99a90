// Tensors and typed arrays. JavaScript's form of a tensor is {dtype, shape, data} (NativeTensor in
// lib/native/binding.ts).
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "tensor_map.h"

namespace ssn::addon {

// lib/ has validated what crosses the boundary. What is wrong here is a bug: Error("INTERNAL").
void check(bool ok, const std::string& what);

// Copies: JavaScript may change or detach its buffers while the engine thread works.
// WEIGHTS_INVALID, with the name, for data of another type or length than it says.
at::Tensor tensorFromJs(const Napi::Value& value, const std::string& name = "");
// The same over JavaScript's own memory, for as long as that is there and is left alone.
at::Tensor tensorOver(const Napi::Value& value, const std::string& name);
// Of an object of tensors, or of what createTensors made and others filled (addon/files.cc).
TensorMap tensorMapFromJs(const Napi::Value& value);

Napi::Array shapeToJs(Napi::Env env, const std::vector<int64_t>& shape);
// May share memory with a tensor that is contiguous and on the CPU: do not change the tensor afterwards.
Napi::Value tensorToJs(Napi::Env env, const at::Tensor& tensor);
Napi::Value tensorMapToJs(Napi::Env env, const TensorMap& tensors);
// A new typed array of zeros. Throws std::bad_alloc.
Napi::ArrayBuffer zeros(Napi::Env env, size_t bytes);
template <class T>
Napi::TypedArrayOf<T> arrayOf(Napi::Env env, size_t elements) {
  return Napi::TypedArrayOf<T>::New(env, elements, zeros(env, elements * sizeof(T)), 0);
}
// The data alone, copied into a Float32Array (the tensor must be float32).
Napi::Value float32ToJs(Napi::Env env, const at::Tensor& tensor);

// Copies the elements of a typed array into a tensor of the same type; Error("INTERNAL") for another number of them.
template <class T>
at::Tensor filled(at::Tensor tensor, const Napi::TypedArrayOf<T>& array, const char* what) {
  check(tensor.numel() == static_cast<int64_t>(array.ElementLength()), what);
  std::memcpy(tensor.data_ptr(), array.Data(), array.ByteLength());
  return tensor;
}

// Copied into a typed array, which can be transferred to another thread.
Napi::Value vectorToJs(Napi::Env env, const std::vector<float>& values);
Napi::Value vectorToJs(Napi::Env env, const std::vector<uint8_t>& values);

inline bool isDefined(const Napi::Object& object, const char* name) { return !object.Get(name).IsUndefined(); }
inline int64_t integer(const Napi::Value& value) { return value.As<Napi::Number>().Int64Value(); }
bool isSize(int64_t size);  // 1 to 2^31 - 1, which keeps every product of two sizes inside int64
// The bytes of an image after checking that they are as many as its sizes say.
Napi::Uint8Array imageFromJs(const Napi::Value& value, int64_t height, int64_t width, int64_t channels);

// A JavaScript array of convert(item) for each item of a vector, and a vector of convert(value) for each of an array's.
template <class Item, class Convert>
Napi::Array listToJs(Napi::Env env, const std::vector<Item>& items, Convert&& convert) {
  Napi::Array out = Napi::Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); ++i) {
    const Napi::HandleScope scope(env);
    out.Set(i, convert(items[i]));
  }
  return out;
}
template <class Convert>
auto listFromJs(const Napi::Value& value, Convert&& convert) {
  const auto array = value.As<Napi::Array>();
  std::vector<decltype(convert(Napi::Value()))> out;
  for (uint32_t i = 0; i < array.Length(); ++i) out.push_back(convert(array.Get(i)));
  return out;
}
inline std::string text(const Napi::Value& value) { return value.As<Napi::String>(); }

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

#include "addon/convert.h"

#include <ATen/ops/empty.h>

#include <cstring>
#include <memory>

namespace ssn::addon {
namespace {

struct Dtype {
  const char* name;
  at::ScalarType type;
  napi_typedarray_type array;
};

constexpr Dtype kDtypes[] = {
    {"float32", at::kFloat, napi_float32_array},   {"float64", at::kDouble, napi_float64_array}, {"uint8", at::kByte, napi_uint8_array},
    {"int32", at::kInt, napi_int32_array},         {"int64", at::kLong, napi_bigint64_array},    {"bool", at::kBool, napi_uint8_array},
    {"float16", at::kHalf, napi_uint16_array},     {"bfloat16", at::kBFloat16, napi_uint16_array}, {"int8", at::kChar, napi_int8_array},
    {"int16", at::kShort, napi_int16_array},
};

const Dtype& dtypeNamed(Napi::Env env, const std::string& name) {
  for (const Dtype& dtype : kDtypes)
    if (name == dtype.name) return dtype;
  throw Napi::TypeError::New(env, "unknown tensor dtype '" + name + "'");
}

const Dtype& dtypeOf(Napi::Env env, at::ScalarType type) {
  for (const Dtype& dtype : kDtypes)
    if (type == dtype.type) return dtype;
  throw Napi::TypeError::New(env, std::string("tensor dtype ") + c10::toString(type) + " has no JavaScript form");
}

Napi::TypedArray arrayOver(Napi::Env env, Napi::ArrayBuffer buffer, napi_typedarray_type type, size_t elements) {
  napi_value out;
  NAPI_THROW_IF_FAILED(env, napi_create_typedarray(env, type, elements, buffer, 0, &out), Napi::TypedArray());
  return Napi::TypedArray(env, out);
}

template <class Holder>
Napi::ArrayBuffer externalBuffer(Napi::Env env, void* data, size_t bytes, Holder* holder) {
  std::unique_ptr<Holder> owned(holder);
  if (bytes == 0) return Napi::ArrayBuffer::New(env, 0);
  napi_value out;
  const napi_status status = napi_create_external_arraybuffer(
      env, data, bytes, [](napi_env, void*, void* hint) { delete static_cast<Holder*>(hint); }, owned.get(), &out);
  if (status == napi_ok) {
    owned.release();
    return Napi::ArrayBuffer(env, out);
  }
  // Some runtimes (Electron) forbid external buffers: copy.
  Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(env, bytes);
  std::memcpy(copy.Data(), data, bytes);
  return copy;
}

template <class T>
Napi::Value vectorToTypedArray(Napi::Env env, std::vector<T> values, napi_typedarray_type type) {
  auto* holder = new std::vector<T>(std::move(values));
  const size_t count = holder->size();
  return arrayOver(env, externalBuffer(env, holder->data(), count * sizeof(T), holder), type, count);
}

Napi::TypedArray dataToJs(Napi::Env env, const at::Tensor& tensor) {
  const Dtype& dtype = dtypeOf(env, tensor.scalar_type());
  at::Tensor dense = tensor.detach().cpu().contiguous();
  const size_t elements = dense.numel();
  return arrayOver(env, externalBuffer(env, dense.data_ptr(), elements * dense.element_size(), new at::Tensor(dense)), dtype.array, elements);
}

Napi::Value field(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  if (value.IsUndefined()) throw Napi::TypeError::New(object.Env(), std::string("missing native option '") + name + "'");
  return value;
}

}  // namespace

at::Tensor tensorFromJs(const Napi::Value& value) {
  Napi::Env env = value.Env();
  Napi::Object object = value.As<Napi::Object>();
  const Dtype& dtype = dtypeNamed(env, getString(object, "dtype"));
  Napi::Array shape = field(object, "shape").As<Napi::Array>();
  std::vector<int64_t> sizes(shape.Length());
  int64_t elements = 1;
  for (uint32_t i = 0; i < shape.Length(); ++i) elements *= sizes[i] = shape.Get(i).As<Napi::Number>().Int64Value();
  Napi::Value data = field(object, "data");
  if (!data.IsTypedArray()) throw Napi::TypeError::New(env, "tensor data must be a typed array");
  Napi::TypedArray array = data.As<Napi::TypedArray>();
  if (array.TypedArrayType() != dtype.array || static_cast<int64_t>(array.ElementLength()) != elements)
    throw Napi::TypeError::New(env, "tensor data does not match its dtype and shape");
  at::Tensor out = at::empty(sizes, at::TensorOptions().dtype(dtype.type));
  if (elements > 0) std::memcpy(out.data_ptr(), static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength());
  return out;
}

TensorMap tensorMapFromJs(const Napi::Value& value) {
  Napi::Object object = value.As<Napi::Object>();
  TensorMap out;
  Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>();
    out[name] = tensorFromJs(object.Get(name));
  }
  return out;
}

Napi::Value tensorToJs(Napi::Env env, const at::Tensor& tensor) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("dtype", dtypeOf(env, tensor.scalar_type()).name);
  Napi::Array shape = Napi::Array::New(env, tensor.dim());
  for (int64_t i = 0; i < tensor.dim(); ++i) shape.Set(static_cast<uint32_t>(i), static_cast<double>(tensor.size(i)));
  out.Set("shape", shape);
  out.Set("data", dataToJs(env, tensor));
  return out;
}

Napi::Value tensorMapToJs(Napi::Env env, const TensorMap& tensors) {
  Napi::Object out = Napi::Object::New(env);
  for (const auto& [name, tensor] : tensors) out.Set(name, tensorToJs(env, tensor));
  return out;
}

Napi::Value float32ToJs(Napi::Env env, const at::Tensor& tensor) {
  if (tensor.scalar_type() != at::kFloat) throw Napi::TypeError::New(env, "float32ToJs needs a float32 tensor");
  return dataToJs(env, tensor);
}

Napi::Value vectorToJs(Napi::Env env, std::vector<float> values) { return vectorToTypedArray(env, std::move(values), napi_float32_array); }
Napi::Value vectorToJs(Napi::Env env, std::vector<uint8_t> values) { return vectorToTypedArray(env, std::move(values), napi_uint8_array); }
Napi::Value vectorToJs(Napi::Env env, std::vector<int32_t> values) { return vectorToTypedArray(env, std::move(values), napi_int32_array); }

std::string getString(const Napi::Object& object, const char* name) { return field(object, name).As<Napi::String>(); }
double getNumber(const Napi::Object& object, const char* name) { return field(object, name).As<Napi::Number>().DoubleValue(); }
int64_t getInt(const Napi::Object& object, const char* name) { return field(object, name).As<Napi::Number>().Int64Value(); }
bool getBool(const Napi::Object& object, const char* name) { return field(object, name).As<Napi::Boolean>(); }
std::vector<std::string> getStrings(const Napi::Object& object, const char* name) {
  Napi::Array array = field(object, name).As<Napi::Array>();
  std::vector<std::string> out;
  for (uint32_t i = 0; i < array.Length(); ++i) out.push_back(array.Get(i).As<Napi::String>());
  return out;
}

}  // namespace ssn::addon

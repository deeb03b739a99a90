#include "addon/convert.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <limits>
#include <memory>
#include <new>

namespace ssn::addon {
namespace {

struct Dtype {
  const char* name;
  at::ScalarType type;
  napi_typedarray_type array;
};

constexpr Dtype kDtypes[] = {
    {"float32", at::kFloat, napi_float32_array}, {"float64", at::kDouble, napi_float64_array},
    {"uint8", at::kByte, napi_uint8_array},      {"int32", at::kInt, napi_int32_array},
    {"int64", at::kLong, napi_bigint64_array},   {"bool", at::kBool, napi_uint8_array},
    {"float16", at::kHalf, napi_uint16_array},   {"bfloat16", at::kBFloat16, napi_uint16_array},
    {"int8", at::kChar, napi_int8_array},        {"int16", at::kShort, napi_int16_array},
};

const Dtype& dtypeNamed(const std::string& name) {
  for (const Dtype& dtype : kDtypes)
    if (name == dtype.name) return dtype;
  throw Error("INTERNAL", "unknown tensor dtype '" + name + "'");
}

const Dtype& dtypeOf(at::ScalarType type) {
  for (const Dtype& dtype : kDtypes)
    if (type == dtype.type) return dtype;
  throw Error("INTERNAL", std::string("tensor dtype ") + c10::toString(type) + " has no JavaScript form");
}

Napi::TypedArray arrayOver(Napi::Env env, Napi::ArrayBuffer buffer, napi_typedarray_type type, size_t elements) {
  napi_value out;
  NAPI_THROW_IF_FAILED(env, napi_create_typedarray(env, type, elements, buffer, 0, &out), Napi::TypedArray());
  return Napi::TypedArray(env, out);
}

Napi::ArrayBuffer copied(Napi::Env env, const void* data, size_t bytes) {
  Napi::ArrayBuffer out = zeros(env, bytes);
  if (bytes > 0) std::memcpy(out.Data(), data, bytes);
  return out;
}

template <class T>
Napi::Value vectorToTypedArray(Napi::Env env, const std::vector<T>& values, napi_typedarray_type type) {
  return arrayOver(env, copied(env, values.data(), values.size() * sizeof(T)), type, values.size());
}

// Weights of a MiB and more are shared, the others copied: the weights of a network are 100 MB and more, and stay
// inside this package mostly. Node refuses to transfer a shared buffer to another thread, and where JavaScript has its
// memory in a sandbox (Electron) there are none.
Napi::ArrayBuffer bufferOf(Napi::Env env, const at::Tensor& dense) {
  constexpr size_t kShared = 1 << 20;
  if (dense.nbytes() >= kShared) {
    auto holder = std::make_unique<at::Tensor>(dense);
    napi_value out;
    const napi_status status = napi_create_external_arraybuffer(
        env, dense.data_ptr(), dense.nbytes(),
        [](napi_env, void*, void* hint) { delete static_cast<at::Tensor*>(hint); }, holder.get(), &out);
    if (status == napi_ok) {
      holder.release();
      return Napi::ArrayBuffer(env, out);
    }
  }
  return copied(env, dense.data_ptr(), dense.nbytes());
}

Napi::Value field(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  check(!value.IsUndefined(), std::string("missing native option '") + name + "'");
  return value;
}

}  // namespace

void check(bool ok, const std::string& what) {
  if (!ok) throw Error("INTERNAL", what);
}

// By JavaScript's constructor: that of Node-API ends the process where there is no memory.
Napi::ArrayBuffer zeros(Napi::Env env, size_t bytes) {
  try {
    return env.Global()
        .Get("ArrayBuffer")
        .As<Napi::Function>()
        .New({Napi::Number::New(env, static_cast<double>(bytes))})
        .As<Napi::ArrayBuffer>();
  } catch (const Napi::Error&) {
    throw std::bad_alloc();
  }
}

bool isSize(int64_t size) { return size >= 1 && size <= std::numeric_limits<int32_t>::max(); }

Napi::Uint8Array imageFromJs(const Napi::Value& value, int64_t height, int64_t width, int64_t channels) {
  check(value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array,
        "an image must be a Uint8Array");
  check(isSize(height) && isSize(width) && (channels == 1 || channels == 3 || channels == 4),
        "image sizes must be at least 1");
  const Napi::Uint8Array pixels = value.As<Napi::Uint8Array>();
  check(pixels.ElementLength() / (static_cast<uint64_t>(width) * channels) == static_cast<uint64_t>(height) &&
            pixels.ElementLength() % (static_cast<uint64_t>(width) * channels) == 0,
        "image data does not match its sizes");
  return pixels;
}

at::Tensor tensorOver(const Napi::Value& value, const std::string& name) {
  Napi::Env env = value.Env();
  Napi::Object object = value.As<Napi::Object>();
  const Dtype& dtype = dtypeNamed(getString(object, "dtype"));
  const std::vector<int64_t> sizes = listFromJs(field(object, "shape"), integer);
  int64_t elements = 1;
  for (const int64_t size : sizes) elements *= size;
  Napi::Value data = field(object, "data");
  check(data.IsTypedArray(), "tensor data must be a typed array");
  // Not the ArrayBuffer of node-addon-api: a SharedArrayBuffer is none to it.
  napi_typedarray_type type;
  size_t count;
  void* from;
  NAPI_THROW_IF_FAILED(env, napi_get_typedarray_info(env, data, &type, &count, &from, nullptr, nullptr), at::Tensor());
  if (type != dtype.array || static_cast<int64_t>(count) != elements)
    throw Error("WEIGHTS_INVALID", "The data of tensor '" + name + "' does not fit its dtype " + dtype.name +
                                       " and its shape: it has " + std::to_string(count) + " elements, not " +
                                       std::to_string(elements) +
                                       (count == 0 ? ". Was its buffer transferred to another thread?" : "."));
  if (elements == 0) return at::empty(sizes, at::TensorOptions().dtype(dtype.type));
  return at::from_blob(from, sizes, at::TensorOptions().dtype(dtype.type));
}

at::Tensor tensorFromJs(const Napi::Value& value, const std::string& name) {
  const at::Tensor over = tensorOver(value, name);
  at::Tensor out = at::empty(over.sizes(), over.options());
  if (over.numel() > 0) std::memcpy(out.data_ptr(), over.data_ptr(), out.nbytes());
  return out;
}

TensorMap tensorMapFromJs(const Napi::Value& value) {
  if (value.IsExternal()) return *value.As<Napi::External<TensorMap>>().Data();  // shares the tensors
  Napi::Object object = value.As<Napi::Object>();
  TensorMap out;
  Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>();
    out[name] = tensorFromJs(object.Get(name), name);
  }
  return out;
}

Napi::Array shapeToJs(Napi::Env env, const std::vector<int64_t>& shape) {
  return listToJs(env, shape, [](int64_t size) { return static_cast<double>(size); });
}

Napi::Value tensorToJs(Napi::Env env, const at::Tensor& tensor) {
  const Dtype& dtype = dtypeOf(tensor.scalar_type());
  Napi::Object out = Napi::Object::New(env);
  out.Set("dtype", dtype.name);
  out.Set("shape", shapeToJs(env, tensor.sizes().vec()));
  const at::Tensor dense = tensor.detach().cpu().contiguous();
  out.Set("data", arrayOver(env, bufferOf(env, dense), dtype.array, dense.numel()));
  return out;
}

Napi::Value tensorMapToJs(Napi::Env env, const TensorMap& tensors) {
  Napi::Object out = Napi::Object::New(env);
  for (const auto& [name, tensor] : tensors) out.Set(name, tensorToJs(env, tensor));
  return out;
}

Napi::Value float32ToJs(Napi::Env env, const at::Tensor& tensor) {
  check(tensor.scalar_type() == at::kFloat, "float32ToJs needs a float32 tensor");
  const at::Tensor dense = tensor.detach().cpu().contiguous();
  return arrayOver(env, copied(env, dense.data_ptr(), dense.nbytes()), napi_float32_array, dense.numel());
}

Napi::Value vectorToJs(Napi::Env env, const std::vector<float>& values) {
  return vectorToTypedArray(env, values, napi_float32_array);
}
Napi::Value vectorToJs(Napi::Env env, const std::vector<uint8_t>& values) {
  return vectorToTypedArray(env, values, napi_uint8_array);
}

std::string getString(const Napi::Object& object, const char* name) { return text(field(object, name)); }
double getNumber(const Napi::Object& object, const char* name) {
  return field(object, name).As<Napi::Number>().DoubleValue();
}
int64_t getInt(const Napi::Object& object, const char* name) { return integer(field(object, name)); }
bool getBool(const Napi::Object& object, const char* name) { return field(object, name).As<Napi::Boolean>(); }
std::vector<std::string> getStrings(const Napi::Object& object, const char* name) {
  return listFromJs(field(object, name), text);
}

}  // namespace ssn::addon

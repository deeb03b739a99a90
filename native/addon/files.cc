// PyTorch files and pickles, read on the libuv pool: nothing here runs a parallel operation of libtorch.
#include <ATen/ops/empty.h>
#include <napi.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "addon/convert.h"
#include "addon/pool_worker.h"
#include "addon/register.h"
#include "files/checksum.h"
#include "files/odd_values.h"
#include "files/pickle.h"
#include "files/pytorch.h"

namespace ssn::addon {
namespace {

Napi::Value readPytorch(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>();
  const bool zip = info[1].As<Napi::String>().Utf8Value() == "pytorch-zip";
  std::vector<std::string> prefixes;
  if (info[2].IsArray()) prefixes = listFromJs(info[2], text);
  return runOnPool<TensorMap>(
      info.Env(),
      [path, zip, prefixes] {
        const InputFile file(path);
        return zip ? readPytorchZip(file, prefixes) : readPytorchLegacy(file, prefixes);
      },
      [](Napi::Env env, TensorMap& tensors) { return tensorMapToJs(env, tensors); });
}

Napi::Value checksum(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array bytes = info[0].As<Napi::Uint8Array>();
  bool lossless;
  const uint64_t seed = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
  return Napi::BigInt::New(info.Env(), checksumOf(bytes.Data(), bytes.ByteLength(), seed));
}

// Tensors that are copied piece by piece in many turns of the event loop, or lent.
Napi::Value createTensors(const Napi::CallbackInfo& info) {
  return Napi::External<TensorMap>::New(info.Env(), new TensorMap, [](Napi::Env, TensorMap* map) { delete map; });
}

TensorMap& tensorsOf(const Napi::Value& value) { return *value.As<Napi::External<TensorMap>>().Data(); }

Napi::Value copyToTensor(const Napi::CallbackInfo& info) {
  const std::string name = text(info[1]);
  // Checked again for each piece: the buffer may have been transferred in an earlier turn.
  const at::Tensor from = tensorOver(info[2], name);
  const int64_t begin = integer(info[3]), end = std::min<int64_t>(integer(info[4]), from.nbytes());
  at::Tensor& to = tensorsOf(info[0])[name];
  if (begin == 0) to = at::empty(from.sizes(), from.options());
  check(begin >= 0 && to.defined() && to.nbytes() == from.nbytes(), "the pieces of a tensor begin with its first");
  if (end > begin)
    std::memcpy(static_cast<char*>(to.data_ptr()) + begin, static_cast<const char*>(from.data_ptr()) + begin,
                end - begin);
  return info.Env().Undefined();
}

Napi::Value lendTensor(const Napi::CallbackInfo& info) {
  const std::string name = text(info[1]);
  tensorsOf(info[0])[name] = tensorOver(info[2], name);
  return info.Env().Undefined();
}

// How many values are NaN or infinite, and how many are below zero.
Napi::Value countOdd(const Napi::CallbackInfo& info) {
  const auto array = info[0].As<Napi::Float32Array>();
  const OddValues odd = oddValues(array.Data(), array.ElementLength());
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("notFinite", static_cast<double>(odd.notFinite));
  out.Set("negative", static_cast<double>(odd.negative));
  return out;
}

// A pickle may contain itself, or grow exponentially by sharing. The converter would not end, so both are refused here.
class PlainChecker {
 public:
  explicit PlainChecker(const InputFile& file) : file_(file) {}
  void check(const Value& value, int depth) {
    if (depth > 200) file_.corrupt("its containers are nested more than 200 deep, or hold themselves");
    if (++count_ > 4'000'000) file_.corrupt("it holds more than 4 million values");
    if (value.is(Value::Kind::Global))
      file_.corrupt("it holds the class '" + value.text + "' where a plain value should be");
    if (value.is(Value::Kind::Opaque)) file_.corrupt("it holds an object where a plain value should be");
    for (const Value* item : value.items) check(*item, depth + 1);
  }

 private:
  const InputFile& file_;
  uint64_t count_ = 0;
};

Napi::Value bigToJs(Napi::Env env, const std::string& bytes) {
  const bool negative = (bytes.back() & 0x80) != 0;
  std::vector<uint64_t> words((bytes.size() + 7) / 8, negative ? ~uint64_t{0} : 0);
  std::memcpy(words.data(), bytes.data(), bytes.size());  // little-endian like the machines this runs on
  if (negative) {                                         // two's complement to magnitude
    bool carry = true;
    for (uint64_t& word : words) {
      word = ~word + (carry ? 1 : 0);
      carry = carry && word == 0;
    }
  }
  return Napi::BigInt::New(env, negative, words.size(), words.data());
}

Napi::Value plainToJs(Napi::Env env, const Value& value) {
  constexpr int64_t kSafe = 9007199254740991;
  using Kind = Value::Kind;
  switch (value.kind) {
    case Kind::Bool:
      return Napi::Boolean::New(env, value.integer != 0);
    case Kind::Int:
      if (value.integer > kSafe || value.integer < -kSafe) return Napi::BigInt::New(env, value.integer);
      return Napi::Number::New(env, static_cast<double>(value.integer));
    case Kind::BigInt:
      return bigToJs(env, value.text);
    case Kind::Float:
      return Napi::Number::New(env, value.number);
    case Kind::String:
      return Napi::String::New(env, value.text);
    case Kind::Bytes:
      return Napi::Buffer<char>::Copy(env, value.text.data(), value.text.size());
    case Kind::Dict: {
      const Napi::Object map = env.Global().Get("Map").As<Napi::Function>().New({});
      const Napi::Function set = map.Get("set").As<Napi::Function>();
      for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
        Napi::HandleScope scope(env);
        set.Call(map, {plainToJs(env, *value.items[i]), plainToJs(env, *value.items[i + 1])});
      }
      return map;
    }
    case Kind::List:
    case Kind::Tuple:
    case Kind::Set: {
      Napi::Array out = Napi::Array::New(env, value.items.size());
      for (uint32_t i = 0; i < value.items.size(); ++i) {
        Napi::HandleScope scope(env);
        out.Set(i, plainToJs(env, *value.items[i]));
      }
      return out;
    }
    default:
      return env.Null();
  }
}

Napi::Value readPickle(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>();
  return runOnPool<Pickle>(
      info.Env(),
      [path] {
        const InputFile file(path);
        ByteReader in(file, 0, file.size());
        Pickle pickle = unpickle(in, Globals::Containers);
        PlainChecker(file).check(*pickle.root, 0);
        return pickle;
      },
      [](Napi::Env env, Pickle& pickle) { return plainToJs(env, *pickle.root); });
}

Napi::Value tryLock(const Napi::CallbackInfo& info) {
  const int file = info[0].As<Napi::Number>().Int32Value();
  // Some network file systems have no locks. There a folder counts as locked.
  return Napi::Boolean::New(info.Env(), ::flock(file, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK);
}

}  // namespace

void registerFiles(Napi::Env env, Napi::Object exports) {
  addFunction<readPytorch>(env, exports, "readPytorch");
  addFunction<checksum>(env, exports, "checksum");
  addFunction<createTensors>(env, exports, "createTensors");
  addFunction<copyToTensor>(env, exports, "copyToTensor");
  addFunction<lendTensor>(env, exports, "lendTensor");
  addFunction<countOdd>(env, exports, "oddValues");
  addFunction<readPickle>(env, exports, "readPickle");
  addFunction<tryLock>(env, exports, "tryLock");
}

}  // namespace ssn::addon

// The thin part of the addon: it links only libdl, so it opens on every machine, finds nothing by itself, and reports
// what dlopen said. `load(libraries, engine, createError)` opens libtorch's files by absolute path in dependency
// order, then the engine, and returns the engine's exports. Later NEEDED entries resolve by SONAME to what is already
// open. `createError` makes the errors that the engine throws.
// `libtorch` is the version whose headers the engine was compiled with: JavaScript checks it before anything is opened.
#include <dlfcn.h>
#include <node_api.h>
#include <stdlib.h>

#include <atomic>
#include <string>
#include <vector>

namespace {

napi_value fail(napi_env env, const std::string& message) {
  napi_throw_error(env, "LIBTORCH_LOAD_FAILED", message.c_str());
  return nullptr;
}

bool readString(napi_env env, napi_value value, std::string& out) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return false;
  out.resize(length);
  return napi_get_value_string_utf8(env, value, out.data(), length + 1, &length) == napi_ok;
}

// libgomp lets idle threads spin for up to 300,000 rounds, some 20 ms, before they sleep. On a machine that does
// anything else (decoding images, for one) the spinning thread sits on the core that the working one waits for, and a
// detection takes 5 to 10 times as long. 10,000 rounds bridge the gaps within one. libgomp reads this when it is
// opened; afterwards the variable goes again, so that child processes do not inherit it. Who sets either variable is
// left alone. A later worker that loads the engine does not touch the environment: libgomp is open by then, and another
// thread may be reading.
class SpinLimit {
 public:
  SpinLimit() : set_(!opened && getenv("OMP_WAIT_POLICY") == nullptr && getenv(kName) == nullptr) {
    if (set_) setenv(kName, "10000", 1);
  }
  ~SpinLimit() {
    if (set_) unsetenv(kName);
  }
  static inline std::atomic<bool> opened = false;  // all libraries, by some thread

 private:
  static constexpr const char* kName = "GOMP_SPINCOUNT";
  bool set_;
};

napi_value load(napi_env env, napi_callback_info info) {
  const SpinLimit spinLimit;
  size_t argc = 3;
  napi_value argv[3];
  if (napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr) != napi_ok || argc != 3)
    return fail(env, "load(libraries, engine, createError) takes three arguments");
  uint32_t count = 0;
  if (napi_get_array_length(env, argv[0], &count) != napi_ok) return fail(env, "libraries must be an array of paths");
  for (uint32_t i = 0; i < count; ++i) {
    napi_value item;
    std::string path;
    napi_get_element(env, argv[0], i, &item);
    if (!readString(env, item, path)) return fail(env, "libraries must be an array of paths");
    // NODELETE: libtorch's static destructors and worker threads do not survive being unmapped.
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE) == nullptr) return fail(env, dlerror());
  }
  SpinLimit::opened = true;
  std::string engine;
  if (!readString(env, argv[1], engine)) return fail(env, "engine must be a path");
  void* handle = dlopen(engine.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return fail(env, dlerror());
  using Init = napi_value (*)(napi_env, napi_value);
  auto init = reinterpret_cast<Init>(dlsym(handle, "supersimplenet_engine_init"));
  if (init == nullptr)
    return fail(env, "the engine library has no supersimplenet_engine_init: it is not ours or damaged");
  return init(env, argv[2]);
}

}  // namespace

extern "C" NAPI_MODULE_EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function;
  napi_create_function(env, "load", NAPI_AUTO_LENGTH, load, nullptr, &function);
  napi_set_named_property(env, exports, "load", function);
  napi_value version;
  napi_create_string_utf8(env, SUPERSIMPLENET_LIBTORCH_VERSION, NAPI_AUTO_LENGTH, &version);
  napi_set_named_property(env, exports, "libtorch", version);
  return exports;
}

extern "C" NAPI_MODULE_EXPORT int32_t node_api_module_get_api_version_v1() { return 9; }

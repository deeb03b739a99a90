// The thin part of the addon: it links only libdl, so it opens on every machine, finds nothing by itself, and reports
// what dlopen said. `load(libraries, engine, createError)` opens libtorch's files by absolute path in dependency
// order, then the engine, and returns the engine's exports. Later NEEDED entries resolve by SONAME to what is already
// open. `createError` makes the errors that the engine throws. `open(libraries)` does the first part beforehand, on
// another thread.
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
  static inline std::atomic<bool> opened = false;  // libgomp, by some thread

 private:
  static constexpr const char* kName = "GOMP_SPINCOUNT";
  bool set_;
};

// NODELETE: libtorch's static destructors and worker threads do not survive being unmapped.
bool openLibrary(const std::string& path) {
  return dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE) != nullptr;
}

bool readPaths(napi_env env, napi_value list, std::vector<std::string>& out) {
  uint32_t count = 0;
  if (napi_get_array_length(env, list, &count) != napi_ok) return false;
  out.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    napi_value item;
    if (napi_get_element(env, list, i, &item) != napi_ok || !readString(env, item, out[i])) return false;
  }
  return true;
}

struct Opening {
  std::vector<std::string> libraries;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
};

// open(libraries): opens them on libuv's pool, where libtorch's static initialisers, a quarter of a second, hold nobody
// up. The promise only says that it is over: `load`, for which nothing is left to do then, reports what went wrong.
// Without a libgomp among the libraries all is left to `load`: whatever opens the system's must see the spin limit.
napi_value open(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value list, promise, name;
  auto* opening = new Opening;
  if (napi_get_cb_info(env, info, &argc, &list, nullptr, nullptr) != napi_ok || argc != 1 ||
      !readPaths(env, list, opening->libraries)) {
    delete opening;
    return fail(env, "open(libraries) takes an array of paths");
  }
  if (opening->libraries.empty() || opening->libraries.front().find("libgomp") == std::string::npos) {
    opening->libraries.clear();
  } else {
    const SpinLimit spinLimit;  // here: another thread may read the environment while this one changes it
    SpinLimit::opened = openLibrary(opening->libraries.front());
  }
  napi_create_promise(env, &opening->deferred, &promise);
  napi_create_string_utf8(env, "supersimplenet libtorch", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(
      env, nullptr, name,
      [](napi_env, void* data) {
        for (const std::string& path : static_cast<Opening*>(data)->libraries)
          if (!openLibrary(path)) return;
      },
      [](napi_env env, napi_status, void* data) {
        auto* done = static_cast<Opening*>(data);
        napi_value nothing;
        napi_get_undefined(env, &nothing);
        napi_resolve_deferred(env, done->deferred, nothing);
        napi_delete_async_work(env, done->work);
        delete done;
      },
      opening, &opening->work);
  napi_queue_async_work(env, opening->work);
  return promise;
}

napi_value load(napi_env env, napi_callback_info info) {
  const SpinLimit spinLimit;
  size_t argc = 3;
  napi_value argv[3];
  if (napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr) != napi_ok || argc != 3)
    return fail(env, "load(libraries, engine, createError) takes three arguments");
  std::vector<std::string> libraries;
  if (!readPaths(env, argv[0], libraries)) return fail(env, "libraries must be an array of paths");
  for (const std::string& path : libraries)
    if (!openLibrary(path)) return fail(env, dlerror());
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
  napi_create_function(env, "open", NAPI_AUTO_LENGTH, open, nullptr, &function);
  napi_set_named_property(env, exports, "open", function);
  napi_value version;
  napi_create_string_utf8(env, SUPERSIMPLENET_LIBTORCH_VERSION, NAPI_AUTO_LENGTH, &version);
  napi_set_named_property(env, exports, "libtorch", version);
  return exports;
}

extern "C" NAPI_MODULE_EXPORT int32_t node_api_module_get_api_version_v1() { return 9; }

#include "addon/errors.h"

#include <c10/util/Exception.h>

#include <new>

#include "error.h"

namespace ssn::addon {

Napi::Value Failure::toJs(Napi::Env env) const {
  Napi::Error error = Napi::Error::New(env, message);
  error.Value().Set("code", code);
  if (!path.empty()) error.Value().Set("path", path);
  return error.Value();
}

Failure currentFailure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code(), error.what(), error.path()};
  } catch (const c10::OutOfMemoryError& error) {
    return {"OUT_OF_MEMORY", error.what_without_backtrace()};
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    // libtorch's CPU allocator does not throw its own OutOfMemoryError.
    if (message.find("DefaultCPUAllocator") != std::string::npos) return {"OUT_OF_MEMORY", message};
    return {"INTERNAL", "libtorch: " + message};
  } catch (const std::bad_alloc&) {
    return {"OUT_OF_MEMORY", "not enough memory"};
  } catch (const std::exception& error) {
    return {"INTERNAL", error.what()};
  } catch (...) {
    return {"INTERNAL", "unknown native exception"};
  }
}

}  // namespace ssn::addon

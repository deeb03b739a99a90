#include "addon/errors.h"

#include <c10/util/Exception.h>

#include <cstdlib>
#include <new>

#include "addon/environment.h"
#include "error.h"

namespace ssn::addon {
namespace {

// libtorch's message is for programmers: keep what could not be allocated, and what the GPU has.
Failure outOfMemory(const std::string& message) {
  std::string what = "Not enough memory";
  const auto after = [&](const std::string& words) {
    return message.find(words) == std::string::npos ? 0 : message.find(words) + words.size();
  };
  if (const size_t at = after("you tried to allocate ")) {
    const unsigned long long bytes = std::strtoull(message.c_str() + at, nullptr, 10);
    what += ": " + std::to_string(bytes) + " bytes (" + std::to_string(bytes >> 20) + " MiB) could not be had.";
  } else if (const size_t at = after("Tried to allocate ")) {
    // "2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB is free. Including ...": to there.
    const size_t free = message.find(" is free.", at);
    what += " on the GPU, for " +
            message.substr(at, free == std::string::npos ? message.find(". ", at) - at + 1 : free - at + 9);
  } else {
    what += ".";
  }
  return {"OUT_OF_MEMORY", what, /*path=*/"", "lessMemory"};
}

}  // namespace

Napi::Value Failure::toJs(Napi::Env env) const {
  Napi::Object out = Napi::Object::New(env);
  out.Set("code", code);
  out.Set("message", message);
  if (!path.empty()) out.Set("path", path);
  if (!remedy.empty()) out.Set("remedy", remedy);
  return out;
}

Napi::Error Failure::toError(Napi::Env env) const { return {env, Environment::of(env).createError.Call({toJs(env)})}; }

Napi::Promise withErrors(Napi::Env env, const Napi::Promise& promise) {
  return promise.Catch(Environment::of(env).throwFailure.Value());
}

Failure currentFailure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code(), error.what(), error.path(), error.remedy()};
  } catch (const c10::OutOfMemoryError& error) {
    return outOfMemory(error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    // libtorch's CPU allocator does not throw its own OutOfMemoryError.
    if (message.find("DefaultCPUAllocator") != std::string::npos) return outOfMemory(message);
    return {"INTERNAL", "libtorch: " + message};
  } catch (const std::bad_alloc&) {
    return outOfMemory({});
  } catch (const std::exception& error) {
    return {"INTERNAL", error.what()};
  } catch (...) {
    return {"INTERNAL", "unknown native exception"};
  }
}

}  // namespace ssn::addon

// What a C++ exception becomes in JavaScript: createError of lib/native/errors.ts makes the public error class of it.
#pragma once

#include <napi.h>

#include <optional>
#include <string>

namespace ssn::addon {

struct Failure {
  std::string code;
  std::string message;
  std::string path = {}, remedy = {};        // as of an Error
  Napi::Value toJs(Napi::Env env) const;     // NativeFailure of lib/native/errors.ts
  Napi::Error toError(Napi::Env env) const;  // what createError makes of it
};

// `promise`, which rejects with a Failure, as one that rejects with what createError makes of it. The error is made in
// a microtask of the promise: only there V8 knows who awaits it, for the error's stack.
Napi::Promise withErrors(Napi::Env env, const Napi::Promise& promise);

// The exception that is being handled, as a Failure. Call inside a catch block only.
Failure currentFailure();

template <class Body>
std::optional<Failure> capture(Body&& body) {
  try {
    body();
    return std::nullopt;
  } catch (...) {
    return currentFailure();
  }
}

// Runs `body` on the JavaScript thread; a C++ exception is thrown as what createError makes of it.
template <class Body>
auto guarded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw currentFailure().toError(env);
  }
}

// Settles `deferred`, whose promise went through withErrors, with the failure, with convert(env, result), or with what
// convert throws. A Napi::Error leaves it only while the environment is being torn down.
template <class Result, class Convert>
void settlePromise(Napi::Env env, const Napi::Promise::Deferred& deferred, std::optional<Failure>& failure,
                   std::optional<Result>& result, Convert& convert) {
  Napi::Value value;
  if (!failure) {
    try {
      value = convert(env, *result);
    } catch (...) {
      failure = currentFailure();
    }
  }
  if (failure) return deferred.Reject(failure->toJs(env));
  deferred.Resolve(value);
}

}  // namespace ssn::addon

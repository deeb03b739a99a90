// What a C++ exception becomes in JavaScript: an Error with a `code`; lib/errors.ts turns it into the public class.
#pragma once

#include <napi.h>

#include <optional>
#include <string>

namespace ssn::addon {

struct Failure {
  std::string code;
  std::string message;
  std::string path = {};  // of the file it is about
  Napi::Value toJs(Napi::Env env) const;
};

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

// Runs `body` on the JavaScript thread; a C++ exception is thrown as a JavaScript error with a code.
template <class Body>
auto guarded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    const Failure failure = currentFailure();
    throw Napi::Error(env, failure.toJs(env));
  }
}

// Settles `deferred` with the failure, or with convert(env, result), or with whatever convert throws. A Napi::Error
// leaves it only while the environment is being torn down.
template <class Result, class Convert>
void settlePromise(Napi::Env env, const Napi::Promise::Deferred& deferred, std::optional<Failure>& failure,
                   std::optional<Result>& result, Convert& convert) {
  Napi::Value value;
  if (!failure) {
    try {
      value = convert(env, *result);
    } catch (const Napi::Error& error) {
      return deferred.Reject(error.Value());
    } catch (...) {
      failure = currentFailure();
    }
  }
  if (failure) return deferred.Reject(failure->toJs(env));
  deferred.Resolve(value);
}

}  // namespace ssn::addon

// The one exception type that crosses from C++ to JavaScript. `code` becomes the JavaScript error's code
// (lib/errors.ts lists them all); the message says what was wrong, with which value; `path` is the file it is about, or
// empty.
#pragma once

#include <stdexcept>
#include <string>

namespace ssn {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message, std::string path = {})
      : std::runtime_error(message), code_(std::move(code)), path_(std::move(path)) {}
  const std::string& code() const { return code_; }
  const std::string& path() const { return path_; }

 private:
  std::string code_, path_;
};

}  // namespace ssn

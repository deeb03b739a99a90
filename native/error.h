// The one exception type that crosses from C++ to JavaScript. `code` becomes the JavaScript error's code
// (lib/errors.ts lists them all). The message says what was wrong, with which value. `path` is the file it is about, or
// empty. `remedy` names an entry of lib/native/errors.ts, which says what to do in the names of options, or is empty.
#pragma once

#include <stdexcept>
#include <string>

namespace ssn {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message, std::string path = {}, std::string remedy = {})
      : std::runtime_error(message), code_(std::move(code)), path_(std::move(path)), remedy_(std::move(remedy)) {}
  // Copied, not moved: libstdc++ has a move of runtime_error since GCC 9 (compatibility/old_linux.h).
  Error(const Error&) = default;

  const std::string& code() const { return code_; }
  const std::string& path() const { return path_; }
  const std::string& remedy() const { return remedy_; }

 private:
  std::string code_, path_, remedy_;
};

// What a long operation lived with, for the user.
struct Warning {
  std::string message, remedy = {};  // as of an Error
};

}  // namespace ssn

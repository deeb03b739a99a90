// What every fuzzer here needs: its input as a file, and the errors that a reader may throw.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "error.h"

namespace ssn::fuzz {

// A file in memory that holds the input: the readers take paths. One for the whole process.
inline std::string fileWith(const uint8_t* data, size_t bytes) {
  static const int file = ::memfd_create("input", MFD_CLOEXEC);
  if (file < 0 || ::ftruncate(file, 0) != 0 || ::pwrite(file, data, bytes, 0) != static_cast<ssize_t>(bytes)) {
    std::perror("the input's file");
    std::abort();
  }
  return "/proc/self/fd/" + std::to_string(file);
}

// Runs a reader. Any exception but these two codes ends the process, which the fuzzer reports.
template <class Read>
void mustReadOrRefuse(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.code() == "FILE_CORRUPT" || error.code() == "PICKLE_REFUSED") return;
    std::fprintf(stderr, "%s: %s\n", error.code().c_str(), error.what());
    std::abort();
  }
}

}  // namespace ssn::fuzz

// Weight files of every kind behind one call. The content decides the kind, never the name.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tensor_map.h"

namespace ssn {

// Every tensor is dense, row-major, in the file's element type, on the CPU, and owns its memory.
struct TensorFile {
  TensorMap tensors;
  std::map<std::string, std::string> metadata;  // safetensors only
  std::string format;                           // "safetensors", "pytorch-zip" or "pytorch-legacy"
};

// With `prefixes`, only tensors whose name starts with one of them are read. Uses no parallel operation of libtorch.
// Throws Error: FILE_CORRUPT for content that cannot be parsed, PICKLE_REFUSED (pickle.h), WEIGHTS_INVALID for a wanted
// tensor whose element type has no form here, and the file system's (file.h).
TensorFile readTensorFile(const std::string& path, const std::vector<std::string>& prefixes = {});

// Of a dense tensor. Nothing where they overflow, also behind a zero in the shape: at::empty would not survive that.
std::optional<uint64_t> bytesOfShape(at::IntArrayRef shape, uint64_t elementBytes);

inline bool startsWithAny(const std::string& name, const std::vector<std::string>& prefixes) {
  for (const std::string& prefix : prefixes)
    if (name.starts_with(prefix)) return true;
  return prefixes.empty();
}

}  // namespace ssn

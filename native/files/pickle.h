// A Python unpickler that cannot run anything: it builds values of the kinds below and nothing else. A pickle names
// functions and classes ("globals"). It understands the few that tensors and plain containers need. It skips, as
// Opaque, a list of data classes that training frameworks store beside the weights. Every other name is PICKLE_REFUSED.
// Protocols 0 to 5. Source: CPython Lib/pickletools.py; names: torch/_utils.py, torch/serialization.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "files/file.h"

namespace ssn {

struct StorageRef {
  at::ScalarType type = at::kFloat;
  std::string key;
  int64_t elements = 0;
  int64_t viewOffset = 0;  // legacy format: a storage that is a part of another
};

// A tensor whose elements still lie in the file: element (i, j, ..) is storage[offset + i * strides[0] + j * strides[1]
// + ..].
struct TensorRef {
  StorageRef storage;
  int64_t offset = 0;
  std::vector<int64_t> sizes, strides;
};

struct Value {
  enum class Kind {
    None,
    Bool,
    Int,
    BigInt,
    Float,
    String,
    Bytes,
    List,
    Tuple,
    Set,
    Dict,
    Global,
    Storage,
    Tensor,
    Opaque
  };
  Kind kind = Kind::None;
  int64_t integer = 0;        // Bool, Int
  double number = 0;          // Float
  std::string text;           // String (UTF-8), Bytes, Global ("module.name"); BigInt: two's complement, little-endian
  std::vector<Value*> items;  // List, Tuple, Set; Dict: key, value, key, value, ..
  std::unique_ptr<TensorRef> tensor;  // Tensor; Storage (sizes unused)

  bool is(Kind k) const { return kind == k; }
  // Dict only: the value of a text key (the last one given), or null.
  const Value* find(const std::string& key) const;
};

// The contents of a pickle. Values may contain each other in circles.
struct Pickle {
  std::deque<Value> values;  // owns all of them
  const Value* root = nullptr;
  std::map<std::string, at::ScalarType> storages;  // every storage named, by key
};

enum class Globals {
  Containers,  // OrderedDict, defaultdict (and its factory), set, frozenset
  Tensors,     // and what torch.save writes
};

// Reads one pickle and leaves `in` after it. Throws FILE_CORRUPT for malformed input, PICKLE_REFUSED for other names.
Pickle unpickle(ByteReader& in, Globals allowed);

}  // namespace ssn

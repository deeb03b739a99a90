// libtorch's key-value store, through which the ranks of a group find each other: what torchrun serves. Behind a header
// of its own, because c10d's takes seconds to compile.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "error.h"

namespace ssn {

struct StoreError : Error {
  explicit StoreError(const std::string& message) : Error("RANK_FAILED", message) {}
};

class Rendezvous {
 public:
  // `serves`: opens the store at the port; else connects to it. Throws StoreError, as all of it does.
  Rendezvous(const std::string& host, uint16_t port, const std::string& prefix, bool serves);
  ~Rendezvous();
  void set(const std::string& key, const std::string& value);
  std::optional<std::string> get(const std::string& key);  // does not wait for it

 private:
  struct Store;
  std::unique_ptr<Store> store_;
};

}  // namespace ssn

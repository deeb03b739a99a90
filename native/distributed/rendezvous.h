// libtorch's key-value store, through which the ranks of a group find each other: what torchrun serves. Behind a header of
// its own, because c10d's takes seconds to compile.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace ssn {

struct GroupOptions;

class Rendezvous {
 public:
  // `serves`: opens the store at the port; else connects to it. Throws Error("RANK_FAILED").
  Rendezvous(const GroupOptions& options, bool serves);
  ~Rendezvous();
  void set(const std::string& key, const std::string& value);
  std::optional<std::string> get(const std::string& key);  // does not wait for it

 private:
  struct Store;
  std::unique_ptr<Store> store_;
};

}  // namespace ssn

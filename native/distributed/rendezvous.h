// How the ranks of a group find each other: through libtorch's key-value store, which torchrun or rank 0 serves.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <functional>
#include <string>
#include <vector>

#include "distributed/group.h"

namespace ssn {

struct Meeting {
  c10::intrusive_ptr<c10d::Store> store;  // with keys of this group alone
  std::vector<std::string> hosts;         // numeric address of each rank
};

// Returns when all ranks have come. `check` is called many times a second and ends the waiting by throwing. Whatever
// this throws, the ranks that wait at the same time throw too. Throws Error("RANK_FAILED") after the join timeout, and
// Error("RANKS_DIFFER") if the ranks expect different numbers of ranks.
Meeting meet(const GroupOptions& options, const std::function<void()>& check);

// What a rank throws when it hears that another has failed with `error`. Failures of the group keep their code.
Error failureOfRank(const std::string& name, const Error& error);

std::string seconds(std::chrono::milliseconds time);  // "2.5 s"

}  // namespace ssn

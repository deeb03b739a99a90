#include "distributed/rendezvous.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "distributed/group.h"
#include "error.h"

namespace ssn {

struct Rendezvous::Store {
  std::string place;
  c10::intrusive_ptr<c10d::Store> keys;
};

namespace {

template <class Body>
auto reported(const std::string& place, Body&& body) {
  try {
    return body();
  } catch (const c10::Error& error) {
    throw Error("RANK_FAILED", "the store at " + place + " fails: " + error.what_without_backtrace());
  } catch (const std::exception& error) {
    throw Error("RANK_FAILED", "the store at " + place + " fails: " + error.what());
  }
}

}  // namespace

Rendezvous::Rendezvous(const GroupOptions& group, bool serves) : store_(std::make_unique<Store>(Store{group.masterAddress + ":" + std::to_string(group.masterPort), {}})) {
  c10d::TCPStoreOptions options;
  options.port = group.masterPort;
  options.isServer = serves;
  options.waitWorkers = false;
  // Nothing here waits for another rank: the store answers at once or is broken.
  options.timeout = std::chrono::seconds(10);
  reported(store_->place, [&] { store_->keys = c10::make_intrusive<c10d::PrefixStore>(group.prefix, c10::make_intrusive<c10d::TCPStore>(serves ? "localhost" : group.masterAddress, options)); });
}

Rendezvous::~Rendezvous() = default;

void Rendezvous::set(const std::string& key, const std::string& value) {
  reported(store_->place, [&] { store_->keys->set(key, std::vector<uint8_t>(value.begin(), value.end())); });
}

std::optional<std::string> Rendezvous::get(const std::string& key) {
  return reported(store_->place, [&]() -> std::optional<std::string> {
    if (!store_->keys->check({key})) return std::nullopt;
    const std::vector<uint8_t> value = store_->keys->get(key);
    return std::string(value.begin(), value.end());
  });
}

}  // namespace ssn

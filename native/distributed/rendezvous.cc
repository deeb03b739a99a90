#include "distributed/rendezvous.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

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
    throw StoreError("the store at " + place + " fails: " + error.what_without_backtrace());
  } catch (const std::exception& error) {
    throw StoreError("the store at " + place + " fails: " + error.what());
  }
}

}  // namespace

Rendezvous::Rendezvous(const std::string& host, uint16_t port, const std::string& prefix, bool serves)
    : store_(std::make_unique<Store>(Store{host + ":" + std::to_string(port), {}})) {
  c10d::TCPStoreOptions options;
  options.port = port;
  options.isServer = serves;
  options.waitWorkers = false;
  // Nothing here waits for another rank: the store answers at once or is broken.
  options.timeout = std::chrono::seconds(10);
  reported(store_->place, [&] {
    store_->keys = c10::make_intrusive<c10d::PrefixStore>(
        prefix, c10::make_intrusive<c10d::TCPStore>(serves ? "localhost" : host, options));
  });
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

// Features that outlive the process: one file per network and preprocessing, records of one size, appended.
//
//   header   "SSNFEAT1", identity (32 bytes: what the features depend on besides the pixels), record size, checksum
//   record   content (SHA-256 of the pixels), checksum of the data, checksum of these; then the layer maps, channels
//   last
//
// The data of a record is written before its head, and both are checked when it is read: a process that is killed
// leaves at most a part that counts as free. One process at a time writes (flock), others read. Positioned reads and
// writes instead of a mapping: a mapped file that becomes shorter, or a full disk under one, ends the process with
// SIGBUS.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "backbone/resnet.h"
#include "error.h"

namespace ssn {

using Digest = std::array<uint8_t, 32>;

class FeatureFile {
 public:
  // Opens or creates the file. Drops content of another identity, size or format with a warning. Throws the file
  // system's error codes when the file cannot be opened.
  FeatureFile(std::string path, const Digest& identity, std::vector<LayerShape> shapes, at::ScalarType dtype,
              int64_t limitBytes);
  ~FeatureFile();
  FeatureFile(const FeatureFile&) = delete;
  FeatureFile& operator=(const FeatureFile&) = delete;

  bool contains(const Digest& content) const;
  // The layer maps of the pixels with this digest, on the CPU, 1 x C x h x w each, channels last. A damaged record is
  // dropped.
  std::optional<std::vector<at::Tensor>> find(const Digest& content);
  // Stores them if there is room and this process may write. A failed write ends the writing, with a warning.
  void offer(const Digest& content, const std::vector<at::Tensor>& layerMaps);
  // Since the last call.
  std::vector<Warning> takeWarnings();

 private:
  struct DigestHash {
    size_t operator()(const Digest& digest) const {
      size_t out;
      std::memcpy(&out, digest.data(), sizeof out);
      return out;
    }
  };

  void open();
  bool readHeader();
  void start();
  void index();
  int64_t offsetOf(int64_t slot) const;
  bool readAt(void* to, int64_t bytes, int64_t offset) const;
  bool writeAt(const void* from, int64_t bytes, int64_t offset) const;

  std::string path_;
  Digest identity_;
  std::vector<LayerShape> shapes_;
  at::ScalarType dtype_;
  int64_t recordBytes_, limit_, slots_ = 0;
  int file_ = -1;
  bool writable_ = false;
  mutable std::mutex mutex_;  // of what follows: JavaScript asks what is stored while the engine thread trains
  std::unordered_map<Digest, int64_t, DigestHash> index_;  // content -> slot
  std::vector<int64_t> free_;                              // slots without a valid record
  std::vector<Warning> warnings_;
  int64_t damaged_ = 0;
};

}  // namespace ssn

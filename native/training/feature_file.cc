#include "training/feature_file.h"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "error.h"
#include "files/checksum.h"
#include "files/file.h"

namespace ssn {
namespace {

struct Header {
  char magic[8];
  Digest identity;
  uint64_t recordBytes, checksum;
  uint8_t unused[8];
};
static_assert(sizeof(Header) == 64);

struct RecordHead {
  Digest content;
  uint64_t dataChecksum, checksum;
  uint8_t unused[16];
};
static_assert(sizeof(RecordHead) == 64);

constexpr char kMagic[8] = {'S', 'S', 'N', 'F', 'E', 'A', 'T', '1'};

uint64_t headerChecksum(const Header& header) { return checksumOf(&header, offsetof(Header, checksum)); }

// With the slot, so that a record copied to another place is not taken for valid.
uint64_t headChecksum(const RecordHead& head, int64_t slot) {
  return checksumOf(&head, offsetof(RecordHead, checksum), static_cast<uint64_t>(slot));
}

[[noreturn]] void fail(int error, const std::string& path) {
  const char* code = error == EACCES || error == EPERM || error == EROFS ? "NO_PERMISSION"
                     : error == ENOENT                                   ? "FILE_NOT_FOUND"
                     : error == ENOSPC                                   ? "NO_SPACE"
                                                                         : "FILE_ERROR";
  throw Error(code, "Cannot open the feature cache file " + path + ": " + std::generic_category().message(error) + ".",
              path, "otherFeatureFile");
}

int64_t sizeOf(int file) {
  return std::max<int64_t>(0, ::lseek(file, 0, SEEK_END));  // nothing here goes by the position
}

int64_t elements(const LayerShape& shape) { return shape.channels * shape.height * shape.width; }

}  // namespace

FeatureFile::FeatureFile(std::string path, const Digest& identity, std::vector<LayerShape> shapes, at::ScalarType dtype,
                         int64_t limitBytes)
    : path_(std::move(path)), identity_(identity), shapes_(std::move(shapes)), dtype_(dtype), limit_(limitBytes) {
  checkPath(path_);
  recordBytes_ = sizeof(RecordHead);
  for (const LayerShape& shape : shapes_)
    recordBytes_ += elements(shape) * static_cast<int64_t>(c10::elementSize(dtype_));
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail(errno, path_);
  open();
}

FeatureFile::~FeatureFile() { ::close(file_); }

int64_t FeatureFile::offsetOf(int64_t slot) const { return static_cast<int64_t>(sizeof(Header)) + slot * recordBytes_; }

void FeatureFile::open() {
  writable_ = ::flock(file_, LOCK_EX | LOCK_NB) == 0;
  if (!writable_)
    warnings_.push_back({"The feature cache file " + path_ +
                         " is in use by another training: this one reads what is in it and adds nothing."});
  if (readHeader()) {
    index();
  } else if (writable_) {
    if (sizeOf(file_) > 0)
      warnings_.push_back({"The feature cache file " + path_ + " is damaged or of another format: it is begun anew."});
    start();
  }
}

bool FeatureFile::readHeader() {
  Header header;
  return readAt(&header, sizeof header, 0) && std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 &&
         header.checksum == headerChecksum(header) && header.identity == identity_ &&
         header.recordBytes == static_cast<uint64_t>(recordBytes_);
}

void FeatureFile::start() {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.identity = identity_;
  header.recordBytes = static_cast<uint64_t>(recordBytes_);
  header.checksum = headerChecksum(header);
  if (::ftruncate(file_, 0) == 0 && writeAt(&header, sizeof header, 0)) return;
  warnings_.push_back({"The feature cache file " + path_ + " cannot be written (" +
                       std::generic_category().message(errno) + "): features are not kept in it."});
  writable_ = false;
}

void FeatureFile::index() {
  const int64_t size = sizeOf(file_), stored = (size - static_cast<int64_t>(sizeof(Header))) / recordBytes_;
  if (size != offsetOf(stored))
    warnings_.push_back({"The feature cache file " + path_ + " ends within an entry: that entry is dropped."});
  slots_ = std::min(stored, std::max<int64_t>(0, limit_ - static_cast<int64_t>(sizeof(Header))) / recordBytes_);
  if (writable_ && size != offsetOf(slots_) && ::ftruncate(file_, offsetOf(slots_)) != 0) writable_ = false;
  for (int64_t slot = 0; slot < slots_; ++slot) {
    RecordHead head;
    const bool valid = readAt(&head, sizeof head, offsetOf(slot)) && head.checksum == headChecksum(head, slot);
    if (!valid) ++damaged_;
    if (!valid || !index_.emplace(head.content, slot).second) free_.push_back(slot);
  }
}

bool FeatureFile::contains(const Digest& content) const {
  std::lock_guard lock(mutex_);
  return index_.contains(content);
}

std::optional<std::vector<at::Tensor>> FeatureFile::find(const Digest& content) {
  int64_t slot;
  {
    std::lock_guard lock(mutex_);
    const auto found = index_.find(content);
    if (found == index_.end()) return std::nullopt;
    slot = found->second;
  }
  RecordHead head;
  bool valid = readAt(&head, sizeof head, offsetOf(slot)) && head.content == content &&
               head.checksum == headChecksum(head, slot);
  std::vector<at::Tensor> layerMaps;
  uint64_t checksum = 0;
  int64_t offset = offsetOf(slot) + static_cast<int64_t>(sizeof head);
  for (const LayerShape& shape : shapes_) {
    if (!valid) break;
    layerMaps.push_back(at::empty({1, shape.channels, shape.height, shape.width},
                                  at::TensorOptions().dtype(dtype_).memory_format(at::MemoryFormat::ChannelsLast)));
    const int64_t bytes = static_cast<int64_t>(layerMaps.back().nbytes());
    valid = readAt(layerMaps.back().data_ptr(), bytes, offset);
    checksum = checksumOf(layerMaps.back().data_ptr(), bytes, checksum);
    offset += bytes;
  }
  if (valid && checksum == head.dataChecksum) return layerMaps;
  std::lock_guard lock(mutex_);
  ++damaged_;
  index_.erase(content);
  free_.push_back(slot);
  return std::nullopt;
}

void FeatureFile::offer(const Digest& content, const std::vector<at::Tensor>& layerMaps) {
  if (!writable_ || contains(content)) return;
  const bool reused = !free_.empty();
  const int64_t slot = reused ? free_.back() : slots_;
  if (!reused && offsetOf(slot + 1) > limit_) {
    std::lock_guard lock(mutex_);
    writable_ = false;
    warnings_.push_back({"The feature cache file " + path_ + " has reached its limit with " + std::to_string(slots_) +
                             " entries: further features are not kept in it.",
                         "largerFeatureFile"});
    return;
  }
  RecordHead head{};
  head.content = content;
  int64_t offset = offsetOf(slot) + static_cast<int64_t>(sizeof head);
  // A reused slot first loses what its head may still say.
  const RecordHead none{};
  bool written = !reused || writeAt(&none, sizeof none, offsetOf(slot));
  for (const at::Tensor& layerMap : layerMaps) {
    const at::Tensor data = layerMap.cpu().contiguous(at::MemoryFormat::ChannelsLast);
    const int64_t bytes = static_cast<int64_t>(data.nbytes());
    written = written && writeAt(data.data_ptr(), bytes, offset);
    head.dataChecksum = checksumOf(data.data_ptr(), bytes, head.dataChecksum);
    offset += bytes;
  }
  head.checksum = headChecksum(head, slot);
  written = written && writeAt(&head, sizeof head, offsetOf(slot));
  const int error = errno;
  std::lock_guard lock(mutex_);
  if (!written) {
    writable_ = false;
    warnings_.push_back({"The feature cache file " + path_ + " cannot be written (" +
                         std::generic_category().message(error) + "): further features are not kept in it."});
    return;
  }
  if (reused)
    free_.pop_back();
  else
    ++slots_;
  index_.emplace(content, slot);
}

std::vector<Warning> FeatureFile::takeWarnings() {
  std::lock_guard lock(mutex_);
  std::vector<Warning> out = std::move(warnings_);
  warnings_.clear();
  if (damaged_ > 0)
    out.push_back({"The feature cache file " + path_ + " has damaged entries (" + std::to_string(damaged_) +
                   "): they are not used."});
  damaged_ = 0;
  return out;
}

bool FeatureFile::readAt(void* to, int64_t bytes, int64_t offset) const {
  for (auto* at = static_cast<uint8_t*>(to); bytes > 0;) {
    const ssize_t got = ::pread(file_, at, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= got;
    offset += got;
  }
  return true;
}

bool FeatureFile::writeAt(const void* from, int64_t bytes, int64_t offset) const {
  for (auto* at = static_cast<const uint8_t*>(from); bytes > 0;) {
    const ssize_t put = ::pwrite(file_, at, static_cast<size_t>(bytes), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    at += put;
    bytes -= put;
    offset += put;
  }
  return true;
}

}  // namespace ssn

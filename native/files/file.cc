#include "files/file.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "error.h"

namespace ssn {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(int error, const std::string& path) {
  const std::string what = "Cannot read " + path + ": ";
  switch (error) {
    case ENOENT:
      throw Error("FILE_NOT_FOUND", what + "it does not exist. Check the path.", path);
    case EACCES:
    case EPERM:
      throw Error("NO_PERMISSION", what + "permission denied. Check the rights of the file and its folder.", path);
    default:
      throw Error("FILE_ERROR", what + std::generic_category().message(error) + ".", path);
  }
}

}  // namespace

void checkPath(const std::string& path) {
  const size_t nul = path.find('\0');
  if (nul == std::string::npos) return;
  std::string shown = path;
  for (size_t at = nul; at != std::string::npos; at = shown.find('\0', at)) shown.replace(at, 1, "\\0");
  throw Error(
      "INVALID_OPTION",
      "'" + shown + "' is no path: it holds a NUL character (\\0), at which the system would end it. Take it out.",
      path);
}

InputFile::InputFile(std::string path) : path_(std::move(path)) {
  checkPath(path_);
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (!fs::exists(status)) fail(error ? error.value() : ENOENT, path_);
  // Opening a pipe would wait for a writer. A folder can be opened but not read.
  if (!fs::is_regular_file(status))
    throw Error("FILE_ERROR",
                "Cannot read " + path_ + ": it is " +
                    (fs::is_directory(status) ? "a folder, not a file." : "not a regular file."),
                path_);
  file_.reset(std::fopen(path_.c_str(), "rb"));
  if (!file_) fail(errno, path_);
  size_ = fs::file_size(path_, error);
  if (error) fail(error.value(), path_);
}

void InputFile::read(uint64_t offset, uint64_t bytes, void* to) const {
  if (offset > size_ || bytes > size_ - offset)
    corrupt("it ends at byte " + std::to_string(size_) + ", but " + std::to_string(bytes) + " bytes at " +
            std::to_string(offset) + " are needed");
  if (bytes == 0) return;
  errno = 0;
  if (fseeko(file_.get(), static_cast<off_t>(offset), SEEK_SET) != 0) fail(errno, path_);
  if (std::fread(to, 1, bytes, file_.get()) == bytes) return;
  if (std::ferror(file_.get())) fail(errno, path_);
  corrupt("it became shorter while it was read");
}

std::string InputFile::read(uint64_t offset, uint64_t bytes) const {
  if (offset > size_ || bytes > size_ - offset) read(offset, bytes, nullptr);
  std::string out(bytes, '\0');
  read(offset, bytes, out.data());
  return out;
}

void InputFile::corrupt(const std::string& what) const {
  throw Error("FILE_CORRUPT", path_ + " is damaged or not what it should be: " + what + ".", path_);
}

ByteReader::ByteReader(const InputFile& file, uint64_t begin, uint64_t end) : file_(file), begin_(begin), end_(end) {}

void ByteReader::fill() {
  constexpr uint64_t kChunk = 1 << 16;
  begin_ = position();
  at_ = 0;
  if (begin_ >= end_) file_.corrupt("its pickle ends in the middle");
  buffer_ = file_.read(begin_, std::min(kChunk, end_ - begin_));
}

uint8_t ByteReader::byte() {
  if (at_ == buffer_.size()) fill();
  return static_cast<uint8_t>(buffer_[at_++]);
}

std::string ByteReader::take(uint64_t bytes) {
  if (bytes > end_ - position())
    file_.corrupt("its pickle holds a length of " + std::to_string(bytes) + " bytes that reaches past its end");
  std::string out;
  out.reserve(bytes);
  while (out.size() < bytes) {
    if (at_ == buffer_.size()) fill();
    const size_t part = std::min<uint64_t>(bytes - out.size(), buffer_.size() - at_);
    out.append(buffer_, at_, part);
    at_ += part;
  }
  return out;
}

std::string ByteReader::line() {
  std::string out;
  for (char c = static_cast<char>(byte()); c != '\n'; c = static_cast<char>(byte())) out += c;
  return out;
}

uint64_t ByteReader::little(int bytes) {
  uint64_t out = 0;
  for (int i = 0; i < bytes; ++i) out |= static_cast<uint64_t>(byte()) << (8 * i);
  return out;
}

}  // namespace ssn

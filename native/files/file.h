// Files as the formats here need them: random access that checks every range, and a buffered byte stream over a part of
// a file. Failures are ssn::Error: FILE_NOT_FOUND, NO_PERMISSION, FILE_ERROR from the system; INVALID_OPTION for what
// is no path; FILE_CORRUPT when the content is at fault.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace ssn {

// Throws INVALID_OPTION for a path with a NUL character: the system would cut the path there and open another file.
void checkPath(const std::string& path);

class InputFile {
 public:
  explicit InputFile(std::string path);

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }

  // Throws FILE_CORRUPT for a range that reaches past the end, before it allocates anything.
  void read(uint64_t offset, uint64_t bytes, void* to) const;
  std::string read(uint64_t offset, uint64_t bytes) const;

  // Throws FILE_CORRUPT: "<path> is damaged: <what>."
  [[noreturn]] void corrupt(const std::string& what) const;

 private:
  std::string path_;
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
  uint64_t size_ = 0;
};

// Reads bytes [begin, end) of a file in order.
class ByteReader {
 public:
  ByteReader(const InputFile& file, uint64_t begin, uint64_t end);

  const InputFile& file() const { return file_; }
  uint64_t position() const { return begin_ + at_; }
  uint8_t byte();
  std::string take(uint64_t bytes);
  // Returns the bytes up to the next newline, and skips the newline.
  std::string line();
  // Unsigned little-endian integer of 1 to 8 bytes.
  uint64_t little(int bytes);

 private:
  void fill();

  const InputFile& file_;
  uint64_t begin_;  // of the buffer, in the file
  uint64_t end_;
  std::string buffer_;
  size_t at_ = 0;  // within the buffer
};

}  // namespace ssn

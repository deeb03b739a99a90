#include "files/zip.h"

#include <caffe2/serialize/crc_alt.h>

#include <algorithm>

namespace ssn {
namespace {

uint64_t little(const std::string& text, size_t at, int bytes) {
  uint64_t out = 0;
  for (int i = bytes - 1; i >= 0; --i) out = (out << 8) | static_cast<uint8_t>(text[at + i]);
  return out;
}

struct Directory {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kLocatorBytes = 20;

Directory findDirectory(const InputFile& file) {
  constexpr uint64_t kLongestComment = 65535;
  const uint64_t tailBytes = std::min<uint64_t>(file.size(), kEndBytes + kLongestComment);
  const std::string tail = file.read(file.size() - tailBytes, tailBytes);
  size_t end = tail.rfind("PK\x05\x06");
  while (end != std::string::npos && tail.size() - end < kEndBytes)
    end = end == 0 ? std::string::npos : tail.rfind("PK\x05\x06", end - 1);
  if (end == std::string::npos)
    file.corrupt("the directory at the end of the zip archive is missing; the file was probably cut off");
  Directory out{little(tail, end + 16, 4), little(tail, end + 12, 4)};
  const uint64_t endOffset = file.size() - tailBytes + end;
  if (endOffset >= kLocatorBytes) {
    const std::string locator = file.read(endOffset - kLocatorBytes, kLocatorBytes);
    if (locator.starts_with("PK\x06\x07")) {
      const std::string end64 = file.read(little(locator, 8, 8), kEnd64Bytes);
      if (!end64.starts_with("PK\x06\x06")) file.corrupt("the zip64 directory end is not where it should be");
      out = {little(end64, 48, 8), little(end64, 40, 8)};
    }
  }
  return out;
}

// Sizes and offset that do not fit 32 bits stand in the zip64 extra field, in this order, each only when marked.
void readZip64(const InputFile& file, const std::string& extra, uint64_t& size, uint64_t& compressed,
               uint64_t& offset) {
  constexpr uint64_t kMarked = 0xFFFFFFFF;
  if (size != kMarked && compressed != kMarked && offset != kMarked) return;
  for (size_t at = 0; at + 4 <= extra.size();) {
    const size_t bytes = little(extra, at + 2, 2);
    if (at + 4 + bytes > extra.size()) break;
    if (little(extra, at, 2) == 1) {
      size_t field = at + 4;
      for (uint64_t* value : {&size, &compressed, &offset}) {
        if (*value != kMarked) continue;
        if (field + 8 > at + 4 + bytes) file.corrupt("a zip64 field is too short");
        *value = little(extra, field, 8);
        field += 8;
      }
      return;
    }
    at += 4 + bytes;
  }
  file.corrupt("a zip64 field is missing");
}

}  // namespace

std::map<std::string, ZipEntry> readZipDirectory(const InputFile& file) {
  const Directory directory = findDirectory(file);
  const std::string text = file.read(directory.offset, directory.bytes);
  std::map<std::string, ZipEntry> out;
  for (size_t at = 0; at < text.size();) {
    constexpr size_t kFixed = 46;
    if (text.size() - at < kFixed || text.compare(at, 4, "PK\x01\x02") != 0)
      file.corrupt("the zip directory holds something that is not an entry");
    const size_t nameBytes = little(text, at + 28, 2), extraBytes = little(text, at + 30, 2),
                 commentBytes = little(text, at + 32, 2);
    if (text.size() - at - kFixed < nameBytes + extraBytes + commentBytes)
      file.corrupt("the zip directory ends in the middle of an entry");
    const std::string name = text.substr(at + kFixed, nameBytes);
    uint64_t compressed = little(text, at + 20, 4), size = little(text, at + 24, 4), offset = little(text, at + 42, 4);
    readZip64(file, text.substr(at + kFixed + nameBytes, extraBytes), size, compressed, offset);
    ZipEntry entry{offset, size, static_cast<uint32_t>(little(text, at + 16, 4)),
                   static_cast<uint16_t>(little(text, at + 10, 2))};
    if (little(text, at + 8, 2) & 1) file.corrupt("'" + name + "' in the zip archive is encrypted");
    if (entry.method == 0 && compressed != size)
      file.corrupt("'" + name + "' in the zip archive has two different sizes");
    if (!out.emplace(name, entry).second) file.corrupt("'" + name + "' is twice in the zip archive");
    at += kFixed + nameBytes + extraBytes + commentBytes;
  }
  return out;
}

uint64_t zipDataOffset(const InputFile& file, const std::string& name, const ZipEntry& entry) {
  if (entry.method != 0)
    file.corrupt("'" + name + "' in the zip archive is compressed (method " + std::to_string(entry.method) +
                 "), which torch.save never does; unpack the archive and pack it without compression");
  constexpr uint64_t kFixed = 30;
  const std::string header = file.read(entry.offset, kFixed);
  if (!header.starts_with("PK\x03\x04")) file.corrupt("'" + name + "' is not where the zip directory says");
  const uint64_t data = entry.offset + kFixed + little(header, 26, 2) + little(header, 28, 2);
  if (data > file.size() || entry.bytes > file.size() - data)
    file.corrupt("'" + name + "' in the zip archive reaches past the end of the file");
  return data;
}

uint32_t crc32(const void* data, uint64_t bytes) { return crc32_fast(data, bytes); }

}  // namespace ssn

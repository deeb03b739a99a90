// Zip archives as torch.save writes them: stored entries, zip64. Source: PKWARE APPNOTE.TXT 4.3 and 4.5.3.
// Not libtorch's PyTorchStreamReader: it is built without the check of CRC-32 and does not tell the value, so a changed
// weight would be read without an error. It also takes the last of two entries with one name.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "files/file.h"

namespace ssn {

struct ZipEntry {
  uint64_t offset = 0;  // of the local header
  uint64_t bytes = 0;
  uint32_t crc = 0;
  uint16_t method = 0;
};

// Reads the central directory. Throws FILE_CORRUPT for anything inconsistent.
std::map<std::string, ZipEntry> readZipDirectory(const InputFile& file);

// Returns where the bytes of a stored entry begin. Throws FILE_CORRUPT for a compressed one: torch.save writes none.
uint64_t zipDataOffset(const InputFile& file, const std::string& name, const ZipEntry& entry);

// CRC-32 with the polynomial 0xEDB88320, as zip archives hold it.
uint32_t crc32(const void* data, uint64_t bytes);

}  // namespace ssn

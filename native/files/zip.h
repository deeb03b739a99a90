// Zip archives as torch.save writes them: stored entries, zip64. Source: PKWARE APPNOTE.TXT 4.3 and 4.5.3.
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

// The central directory. FILE_CORRUPT for anything inconsistent.
std::map<std::string, ZipEntry> readZipDirectory(const InputFile& file);

// Where the bytes of a stored entry begin. Compressed and encrypted entries are FILE_CORRUPT: torch.save writes
// neither.
uint64_t zipDataOffset(const InputFile& file, const std::string& name, const ZipEntry& entry);

// CRC-32 (polynomial 0xEDB88320).
uint32_t crc32(const void* data, uint64_t bytes);

}  // namespace ssn

// safetensors: 8 bytes of header length (little-endian), a JSON header, then the tensors' bytes without gaps.
//   {"__metadata__": {name: text}, tensor: {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}}
// Files that are written here hold a checksum of header and tensors in the metadata; a whole file that has one is
// verified. Source: https://huggingface.co/docs/safetensors (format).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "files/file.h"
#include "files/tensor_file.h"

namespace ssn {

bool looksLikeSafetensors(const std::string& head);
TensorFile readSafetensors(const InputFile& file, const std::vector<std::string>& prefixes);

// The same tensors and metadata always give the same bytes: the header lists names in byte order, the data lies by
// falling element size and then by name (so that every tensor is aligned), and the header is padded to 8 bytes.
// Tensors must be dense, on the CPU. Written to a temporary name and renamed.
void writeSafetensors(const std::string& path, const TensorMap& tensors,
                      const std::map<std::string, std::string>& metadata);

}  // namespace ssn

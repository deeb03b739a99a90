// What torch.save writes: a zip archive with a pickle and one entry per storage (since PyTorch 1.6), or the legacy
// stream of five pickles followed by the storages. Source: torch/serialization.py.
#pragma once

#include <string>
#include <vector>

#include "files/file.h"
#include "tensor_map.h"

namespace ssn {

// The tensors of the top-level dictionary. When it holds none but has a dictionary "state_dict" (Lightning),
// "model_state_dict" or "model", the tensors of that one. With `prefixes`, only tensors whose name starts with one of
// them. Every tensor is dense, row-major, in the file's element type, on the CPU, and owns its memory. Uses no parallel
// operation of libtorch. Throws Error: FILE_CORRUPT, PICKLE_REFUSED (pickle.h), and the file system's (file.h).
TensorMap readPytorchZip(const InputFile& file, const std::vector<std::string>& prefixes);
TensorMap readPytorchLegacy(const InputFile& file, const std::vector<std::string>& prefixes);

}  // namespace ssn

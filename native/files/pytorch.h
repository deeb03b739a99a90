// What torch.save writes: a zip archive with a pickle and one entry per storage (since PyTorch 1.6), or the legacy
// stream of five pickles followed by the storages. Source: torch/serialization.py.
#pragma once

#include <string>
#include <vector>

#include "files/file.h"
#include "files/tensor_file.h"

namespace ssn {

bool looksLikeZip(const std::string& head);
bool looksLikeLegacyPytorch(const std::string& head);

// The tensors of the top-level dictionary. When it holds none but has a dictionary "state_dict" (Lightning),
// "model_state_dict" or "model", the tensors of that one.
TensorFile readPytorchZip(const InputFile& file, const std::vector<std::string>& prefixes);
TensorFile readPytorchLegacy(const InputFile& file, const std::vector<std::string>& prefixes);

}  // namespace ssn

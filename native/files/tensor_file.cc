#include "files/tensor_file.h"

#include <algorithm>
#include <limits>

#include "files/file.h"
#include "files/pytorch.h"
#include "files/safetensors.h"

namespace ssn {
namespace {

// What a file that is none of ours seems to be, for people who saved the wrong thing.
std::string guess(const std::string& head) {
  if (head.empty()) return "it is empty";
  if (head.starts_with("version https://git-lfs"))
    return "it is a Git LFS pointer, not the file itself; run 'git lfs pull'";
  if (head.starts_with("<")) return "it is a web page; the download went wrong";
  if (head.starts_with("\x1f\x8b")) return "it is compressed with gzip; unpack it first";
  if (head.starts_with("\x89HDF")) return "it is an HDF5 (Keras) file; only safetensors and PyTorch files are read";
  if (head[0] == '\x80') return "it is a Python pickle, but not one that torch.save wrote";
  return "it is neither a safetensors file nor a PyTorch file (zip or legacy)";
}

}  // namespace

std::optional<uint64_t> bytesOfShape(at::IntArrayRef shape, uint64_t elementBytes) {
  uint64_t withoutZeros = elementBytes;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size == 0)
      empty = true;
    else if (withoutZeros > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / static_cast<uint64_t>(size))
      return std::nullopt;
    else
      withoutZeros *= static_cast<uint64_t>(size);
  }
  return empty ? 0 : withoutZeros;
}

TensorFile readTensorFile(const std::string& path, const std::vector<std::string>& prefixes) {
  const InputFile file(path);
  const std::string head = file.read(0, std::min<uint64_t>(file.size(), 32));
  TensorFile out;
  if (looksLikeZip(head)) {
    out = readPytorchZip(file, prefixes);
  } else if (looksLikeLegacyPytorch(head)) {
    out = readPytorchLegacy(file, prefixes);
  } else if (looksLikeSafetensors(head)) {
    out = readSafetensors(file, prefixes);
  } else {
    file.corrupt(guess(head));
  }
  // Names become keys of a JavaScript object, where this one would replace the prototype.
  if (out.tensors.count("__proto__") || out.metadata.count("__proto__"))
    file.corrupt("it holds a tensor or metadata named '__proto__'");
  return out;
}

}  // namespace ssn

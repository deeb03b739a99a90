#include "files/pytorch.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>

#include "error.h"
#include "files/pickle.h"
#include "files/zip.h"

namespace ssn {
namespace {

using Kind = Value::Kind;

struct Range {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::string name;  // of the zip entry, whose CRC is verified; empty in the legacy format
  uint32_t crc = 0;
};

constexpr uint64_t kOverflow = std::numeric_limits<uint64_t>::max();
uint64_t times(uint64_t a, uint64_t b) { return b != 0 && a > kOverflow / b ? kOverflow : a * b; }
uint64_t plus(uint64_t a, uint64_t b) { return a > kOverflow - b ? kOverflow : a + b; }

// Returns the bytes of a dense tensor, or nothing when the shape overflows. Sizes beside a zero count too: at::empty
// multiplies them.
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

// Copies the strided elements of a storage into dense order.
void gather(const TensorRef& ref, uint64_t first, size_t elementBytes, const char* from, char* to) {
  const size_t dims = ref.sizes.size();
  std::vector<int64_t> index(dims, 0);
  const int64_t rowLength = dims == 0 ? 1 : ref.sizes[dims - 1];
  const uint64_t rowStride = dims == 0 ? 1 : static_cast<uint64_t>(ref.strides[dims - 1]);
  while (true) {
    uint64_t row = first;
    for (size_t d = 0; d + 1 < dims; ++d)
      row += static_cast<uint64_t>(index[d]) * static_cast<uint64_t>(ref.strides[d]);
    for (int64_t i = 0; i < rowLength; ++i, to += elementBytes)
      std::memcpy(to, from + (row + static_cast<uint64_t>(i) * rowStride) * elementBytes, elementBytes);
    size_t d = dims < 2 ? 0 : dims - 1;
    while (d > 0 && ++index[d - 1] == ref.sizes[d - 1]) index[--d] = 0;
    if (d == 0) return;
  }
}

bool isDense(const TensorRef& ref) {
  int64_t expected = 1;
  for (size_t d = ref.sizes.size(); d-- > 0;) {
    if (ref.sizes[d] != 1 && ref.strides[d] != expected) return false;
    expected *= ref.sizes[d];
  }
  return true;
}

// Turns references into tensors. Keeps a storage in memory when a tensor is only a part of it, for the next tensor.
class Loader {
 public:
  Loader(const InputFile& file, std::function<Range(const StorageRef&, uint64_t)> locate)
      : file_(file), locate_(std::move(locate)), budget_(plus(times(file.size(), 4), 1 << 26)) {}

  at::Tensor load(const std::string& name, const TensorRef& ref) {
    const uint64_t elementBytes = c10::elementSize(ref.storage.type);
    const uint64_t first = plus(static_cast<uint64_t>(ref.offset), static_cast<uint64_t>(ref.storage.viewOffset));
    uint64_t last = first;
    for (size_t d = 0; d < ref.sizes.size(); ++d) {
      const uint64_t size = static_cast<uint64_t>(ref.sizes[d]);
      if (size > 1) last = plus(last, times(size - 1, static_cast<uint64_t>(ref.strides[d])));
    }
    const std::optional<uint64_t> bytes = bytesOfShape(ref.sizes, elementBytes);
    if (!bytes) file_.corrupt("the shape of '" + name + "' overflows");
    spend(*bytes, name);
    if (*bytes == 0) return at::empty(ref.sizes, at::TensorOptions().dtype(ref.storage.type));
    if (last >= static_cast<uint64_t>(ref.storage.elements))
      file_.corrupt("'" + name + "' reaches element " + std::to_string(last) + " of a storage of " +
                    std::to_string(ref.storage.elements));
    const Range range = locate_(ref.storage, elementBytes);
    if (times(static_cast<uint64_t>(ref.storage.elements), elementBytes) > range.bytes)
      file_.corrupt("the storage of '" + name + "' has " + std::to_string(range.bytes) + " bytes and should have " +
                    std::to_string(ref.storage.elements) + " elements");

    at::Tensor out = at::empty(ref.sizes, at::TensorOptions().dtype(ref.storage.type));
    if (isDense(ref) && first == 0 && *bytes == range.bytes) {
      file_.read(range.offset, range.bytes, out.data_ptr());
      verify(range, out.const_data_ptr());
    } else {
      gather(ref, first, elementBytes, storage(ref.storage.key, range, name).data(),
             static_cast<char*>(out.data_ptr()));
    }
    if (ref.storage.type == at::kBool)
      for (uint8_t *byte = static_cast<uint8_t*>(out.data_ptr()), *end = byte + out.numel(); byte != end; ++byte)
        *byte = *byte != 0;
    return out;
  }

 private:
  // Expanded and overlapping tensors may be larger than the file. Only a hostile file needs much more.
  void spend(uint64_t bytes, const std::string& name) {
    if (bytes > budget_) file_.corrupt("'" + name + "' and the tensors before it are much larger than the file");
    budget_ -= bytes;
  }
  void verify(const Range& range, const void* data) const {
    if (!range.name.empty() && crc32(data, range.bytes) != range.crc)
      file_.corrupt("the checksum of '" + range.name + "' is wrong; its bytes were changed");
  }
  const std::string& storage(const std::string& key, const Range& range, const std::string& name) {
    const auto known = storages_.find(key);
    if (known != storages_.end()) return known->second;
    spend(range.bytes, name);
    std::string bytes = file_.read(range.offset, range.bytes);
    verify(range, bytes.data());
    return storages_.emplace(key, std::move(bytes)).first->second;
  }

  const InputFile& file_;
  std::function<Range(const StorageRef&, uint64_t)> locate_;
  std::map<std::string, std::string> storages_;
  uint64_t budget_;
};

bool holdsTensors(const Value& dict) {
  for (size_t i = 1; i < dict.items.size(); i += 2)
    if (dict.items[i]->is(Kind::Tensor)) return true;
  return false;
}

const Value& stateDict(const InputFile& file, const Value& root) {
  if (!root.is(Kind::Dict)) file.corrupt("it holds no dictionary of tensors; save model.state_dict()");
  if (holdsTensors(root)) return root;
  for (const char* key : {"state_dict", "model_state_dict", "model"}) {
    const Value* inner = root.find(key);
    if (inner != nullptr && inner->is(Kind::Dict)) return *inner;
  }
  return root;
}

bool startsWithAny(const std::string& name, const std::vector<std::string>& prefixes) {
  return prefixes.empty() || std::any_of(prefixes.begin(), prefixes.end(),
                                         [&](const std::string& prefix) { return name.starts_with(prefix); });
}

TensorMap loadAll(const InputFile& file, const Value& root, const std::vector<std::string>& prefixes, Loader loader) {
  TensorMap out;
  const Value& dict = stateDict(file, root);
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const Value &key = *dict.items[i], &value = *dict.items[i + 1];
    if (!key.is(Kind::String) || !value.is(Kind::Tensor) || !startsWithAny(key.text, prefixes)) continue;
    // Names become keys of a JavaScript object, where __proto__ would replace the prototype.
    if (key.text == "__proto__") file.corrupt("it holds a tensor named '__proto__'");
    out.insert_or_assign(key.text, loader.load(key.text, *value.tensor));
  }
  return out;
}

}  // namespace

TensorMap readPytorchZip(const InputFile& file, const std::vector<std::string>& prefixes) {
  const std::map<std::string, ZipEntry> entries = readZipDirectory(file);
  // All entries lie in one folder. Its name is the name that the file had when it was saved.
  std::string folder;
  bool found = false;
  for (const auto& [name, entry] : entries) {
    if (name != "data.pkl" && !(name.ends_with("/data.pkl") && name.find('/') == name.size() - 9)) continue;
    if (found) file.corrupt("the zip archive holds two data.pkl");
    found = true;
    folder = name.substr(0, name.size() - 8);
  }
  if (!found) file.corrupt("the zip archive holds no data.pkl; torch.save did not write it");
  const auto range = [&](const std::string& name) {
    const auto entry = entries.find(folder + name);
    if (entry == entries.end()) file.corrupt("'" + name + "' is missing in the zip archive");
    return Range{zipDataOffset(file, name, entry->second), entry->second.bytes, name, entry->second.crc};
  };
  if (entries.count(folder + "byteorder")) {
    const Range order = range("byteorder");
    if (order.bytes != 6 || file.read(order.offset, 6) != "little")
      file.corrupt("it was written on a big-endian machine; save it again on a little-endian one");
  }
  const Range pickled = range("data.pkl");
  ByteReader in(file, pickled.offset, pickled.offset + pickled.bytes);
  const Pickle pickle = unpickle(in, Globals::Tensors);
  Loader loader(file, [&](const StorageRef& storage, uint64_t) { return range("data/" + storage.key); });
  return loadAll(file, *pickle.root, prefixes, std::move(loader));
}

TensorMap readPytorchLegacy(const InputFile& file, const std::vector<std::string>& prefixes) {
  ByteReader in(file, 0, file.size());
  unpickle(in, Globals::Containers);  // the magic number
  const Pickle protocol = unpickle(in, Globals::Containers);
  if (!protocol.root->is(Kind::Int) || protocol.root->integer != 1001)
    file.corrupt("its legacy format has an unknown version");
  const Pickle system = unpickle(in, Globals::Containers);
  const Value* little = system.root->is(Kind::Dict) ? system.root->find("little_endian") : nullptr;
  if (little == nullptr || !little->is(Kind::Bool)) file.corrupt("its legacy header does not name the byte order");
  if (!little->integer) file.corrupt("it was written on a big-endian machine; save it again on a little-endian one");
  const Pickle pickle = unpickle(in, Globals::Tensors);
  const Pickle keys = unpickle(in, Globals::Containers);
  if (!keys.root->is(Kind::List)) file.corrupt("its list of storages is missing");

  std::map<std::string, Range> ranges;
  uint64_t position = in.position();
  for (const Value* key : keys.root->items) {
    const auto type = key->is(Kind::String) ? pickle.storages.find(key->text) : pickle.storages.end();
    if (type == pickle.storages.end()) file.corrupt("it lists a storage that nothing uses");
    uint64_t elements = 0;  // little-endian, as this machine
    file.read(position, 8, &elements);
    position += 8;
    const uint64_t bytes = times(elements, c10::elementSize(type->second));
    if (bytes > file.size() - position)
      file.corrupt("storage '" + key->text + "' reaches past the end of the file; it was probably cut off");
    if (!ranges.emplace(key->text, Range{position, bytes, "", 0}).second)
      file.corrupt("storage '" + key->text + "' is there twice");
    position += bytes;
  }
  Loader loader(file, [&](const StorageRef& storage, uint64_t) {
    const auto range = ranges.find(storage.key);
    if (range == ranges.end()) file.corrupt("storage '" + storage.key + "' is missing");
    return range->second;
  });
  return loadAll(file, *pickle.root, prefixes, std::move(loader));
}

}  // namespace ssn

#include "files/safetensors.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "error.h"
#include "files/checksum.h"

namespace ssn {
namespace {

struct ElementType {
  const char* name;
  uint64_t bytes;
  at::ScalarType type;  // Undefined: the format knows it, we do not
};

constexpr ElementType kTypes[] = {
    {"F32", 4, at::kFloat},
    {"F64", 8, at::kDouble},
    {"F16", 2, at::kHalf},
    {"BF16", 2, at::kBFloat16},
    {"I64", 8, at::kLong},
    {"I32", 4, at::kInt},
    {"I16", 2, at::kShort},
    {"I8", 1, at::kChar},
    {"U8", 1, at::kByte},
    {"BOOL", 1, at::kBool},
    {"U16", 2, at::ScalarType::Undefined},
    {"U32", 4, at::ScalarType::Undefined},
    {"U64", 8, at::ScalarType::Undefined},
    {"F8_E5M2", 1, at::ScalarType::Undefined},
    {"F8_E4M3", 1, at::ScalarType::Undefined},
    {"C64", 8, at::ScalarType::Undefined},
};

struct Entry {
  std::string name;
  const ElementType* type = nullptr;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct Header {
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
};

// Reads exactly the JSON that the format allows. No recursion, so nothing nests deeper than the grammar below.
class HeaderParser {
 public:
  HeaderParser(const InputFile& file, const std::string& text) : file_(file), text_(text) {}

  Header parse() {
    Header header;
    bool metadata = false;
    object([&](const std::string& name) {
      if (name == "__metadata__") {
        if (metadata) fail("__metadata__ appears twice");
        metadata = true;
        object([&](const std::string& key) {
          if (!header.metadata.emplace(key, string()).second) fail("the metadata '" + key + "' appears twice");
        });
      } else {
        header.entries.push_back(entry(name));
      }
    });
    space();
    if (at_ != text_.size()) fail("there is text after the closing brace");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    file_.corrupt("its header is wrong at byte " + std::to_string(8 + at_) + ": " + what);
  }

  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }
  bool accept(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(std::string("'") + c + "' is missing");
  }

  template <class Member>
  void object(Member&& member) {
    expect('{');
    if (accept('}')) return;
    do {
      const std::string name = string();
      expect(':');
      member(name);
    } while (accept(','));
    expect('}');
  }

  uint64_t number() {
    space();
    const size_t start = at_;
    uint64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (value > (static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) - 9) / 10) fail("a number is too large");
      value = value * 10 + static_cast<uint64_t>(text_[at_] - '0');
    }
    if (at_ == start) fail("a non-negative whole number is missing");
    return value;
  }

  std::vector<uint64_t> numbers() {
    std::vector<uint64_t> out;
    expect('[');
    if (accept(']')) return out;
    do out.push_back(number());
    while (accept(','));
    expect(']');
    return out;
  }

  unsigned hex4() {
    unsigned value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = at_ < text_.size() ? text_[at_++] : '\0';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("\\u needs four hexadecimal digits");
      value = value * 16 + static_cast<unsigned>(digit);
    }
    return value;
  }

  std::string string() {
    expect('"');
    std::string out;
    while (true) {
      if (at_ >= text_.size()) fail("a text does not end");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) fail("a text holds a control character");
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = at_ < text_.size() ? text_[at_++] : '\0';
      switch (escape) {
        case '"':
        case '\\':
        case '/':
          out += escape;
          break;
        case 'b':
          out += '\b';
          break;
        case 'f':
          out += '\f';
          break;
        case 'n':
          out += '\n';
          break;
        case 'r':
          out += '\r';
          break;
        case 't':
          out += '\t';
          break;
        case 'u':
          utf8(out);
          break;
        default:
          fail("a text holds an unknown escape");
      }
    }
  }

  void utf8(std::string& out) {
    unsigned code = hex4();
    if (code >= 0xD800 && code < 0xDC00) {
      if (text_.compare(at_, 2, "\\u") != 0) fail("half of a surrogate pair is missing");
      at_ += 2;
      const unsigned low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair is missing");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
      fail("half of a surrogate pair is missing");
    }
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  Entry entry(const std::string& name) {
    Entry out;
    out.name = name;
    bool shape = false, offsets = false;
    object([&](const std::string& key) {
      if (key == "dtype" && out.type == nullptr) {
        const std::string dtype = string();
        for (const ElementType& type : kTypes)
          if (dtype == type.name) out.type = &type;
        if (out.type == nullptr) fail("'" + name + "' has the unknown type '" + dtype + "'");
      } else if (key == "shape" && !shape) {
        shape = true;
        for (const uint64_t size : numbers()) out.shape.push_back(static_cast<int64_t>(size));
      } else if (key == "data_offsets" && !offsets) {
        offsets = true;
        const std::vector<uint64_t> range = numbers();
        if (range.size() != 2) fail("'" + name + "' needs two data_offsets");
        out.begin = range[0];
        out.end = range[1];
      } else {
        fail("'" + name + "' has an unexpected '" + key + "'");
      }
    });
    if (out.type == nullptr || !shape || !offsets) fail("'" + name + "' lacks dtype, shape or data_offsets");
    if (out.shape.size() > 64) fail("'" + name + "' has " + std::to_string(out.shape.size()) + " dimensions");
    return out;
  }

  const InputFile& file_;
  const std::string& text_;
  size_t at_ = 0;
};

uint64_t headerLength(const std::string& head) {
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = (length << 8) | static_cast<uint8_t>(head[i]);
  return length;
}

void checkLayout(const InputFile& file, std::vector<Entry> entries, uint64_t dataBytes) {
  for (const Entry& entry : entries) {
    if (entry.begin > entry.end || entry.end > dataBytes)
      file.corrupt("'" + entry.name + "' lies at " + std::to_string(entry.begin) + ".." + std::to_string(entry.end) +
                   " of " + std::to_string(dataBytes) + " bytes of data");
    const std::optional<uint64_t> bytes = bytesOfShape(entry.shape, entry.type->bytes);
    if (!bytes) file.corrupt("the shape of '" + entry.name + "' overflows");
    if (*bytes != entry.end - entry.begin)
      file.corrupt("the shape of '" + entry.name + "' needs " + std::to_string(*bytes) + " bytes, its data has " +
                   std::to_string(entry.end - entry.begin));
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  uint64_t position = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != position) file.corrupt("the data before '" + entry.name + "' overlaps or has a gap");
    position = entry.end;
  }
  if (position != dataBytes) file.corrupt(std::to_string(dataBytes - position) + " bytes follow the last tensor");
}

const char* typeName(at::ScalarType type, const std::string& name) {
  for (const ElementType& candidate : kTypes)
    if (candidate.type == type) return candidate.name;
  throw Error("WEIGHTS_INVALID", "tensor '" + name + "' has the type " + c10::toString(type) +
                                     ", which safetensors files of this package do not hold");
}

std::string quoted(const std::string& text) {
  static const char* const kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kHex[(c >> 4) & 15];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

// The checksum stands in the header that it covers: there it counts as zeros. Then come the tensors, as they lie.
constexpr char kChecksum[] = "supersimplenet.checksum";

std::string hexadecimal(uint64_t value) {
  static const char* const kHex = "0123456789abcdef";
  std::string out(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4) out[i] = kHex[value & 15];
  return out;
}

// As it stands in a header; within a text its quotes would be escaped.
std::string checksumEntry(const std::string& value) { return quoted(kChecksum) + ":" + quoted(value); }

uint64_t checksum(const std::string& header, const std::vector<at::Tensor>& data) {
  uint64_t out = checksumOf(header.data(), header.size());
  for (const at::Tensor& tensor : data) out = checksumOf(tensor.const_data_ptr(), tensor.nbytes(), out);
  return out;
}

void verify(const InputFile& file, std::string header, std::vector<Entry> entries, const TensorFile& read,
            const std::string& written) {
  const size_t at = header.find(checksumEntry(written));
  if (at != std::string::npos) header.replace(at, checksumEntry(written).size(), checksumEntry(hexadecimal(0)));
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::vector<at::Tensor> data;
  for (const Entry& entry : entries) data.push_back(read.tensors.at(entry.name));
  if (hexadecimal(checksum(header, data)) != written)
    file.corrupt(
        "its checksum is not that of its contents, which have changed since they were written (a tool that changes "
        "them on purpose has to leave the entry supersimplenet.checksum out)");
}

}  // namespace

bool looksLikeSafetensors(const std::string& head) { return head.size() > 8 && head[8] == '{'; }

TensorFile readSafetensors(const InputFile& file, const std::vector<std::string>& prefixes) {
  constexpr uint64_t kMaxHeader = 100'000'000;  // the limit of the reference implementation
  const uint64_t length = headerLength(file.read(0, 8));
  if (length > kMaxHeader || length > file.size() - 8)
    file.corrupt("its header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(file.size()));
  const std::string text = file.read(8, length);
  const Header header = HeaderParser(file, text).parse();
  const uint64_t data = 8 + length;
  checkLayout(file, header.entries, file.size() - data);

  TensorFile out;
  out.format = "safetensors";
  out.metadata = header.metadata;
  for (const Entry& entry : header.entries) {
    if (!startsWithAny(entry.name, prefixes)) continue;
    if (entry.type->type == at::ScalarType::Undefined)
      throw Error("WEIGHTS_INVALID",
                  file.path() + ": tensor '" + entry.name + "' has the type " + entry.type->name +
                      ", which is not supported; convert it to float32.",
                  file.path());
    at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type->type));
    file.read(data + entry.begin, entry.end - entry.begin, tensor.data_ptr());
    if (!out.tensors.emplace(entry.name, std::move(tensor)).second) file.corrupt("'" + entry.name + "' appears twice");
  }
  // A part cannot be verified.
  if (const auto found = out.metadata.find(kChecksum); found != out.metadata.end()) {
    if (prefixes.empty()) verify(file, text, header.entries, out, found->second);
    out.metadata.erase(found);
  }
  // Any other byte in a bool is undefined behaviour for whoever reads it as one.
  for (auto& [name, tensor] : out.tensors)
    if (tensor.scalar_type() == at::kBool)
      for (uint8_t *byte = static_cast<uint8_t*>(tensor.data_ptr()), *end = byte + tensor.numel(); byte != end; ++byte)
        *byte = *byte != 0;
  return out;
}

void writeSafetensors(const std::string& path, const TensorMap& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorMap::value_type*> order;
  for (const auto& item : tensors) {
    if (!item.second.is_contiguous() || !item.second.device().is_cpu())
      throw Error("INTERNAL", "tensor '" + item.first + "' is not dense on the CPU");
    if (item.first == "__metadata__") throw Error("INVALID_OPTION", "a tensor cannot be named '__metadata__'");
    order.push_back(&item);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](auto* a, auto* b) { return a->second.element_size() > b->second.element_size(); });
  std::map<std::string, uint64_t> begin;
  std::vector<at::Tensor> data;
  uint64_t position = 0;
  for (const auto* item : order) {
    begin[item->first] = position;
    position += item->second.nbytes();
    data.push_back(item->second);
  }

  std::string header = "{\"__metadata__\":{";
  for (const auto& [key, value] : metadata) header += quoted(key) + ":" + quoted(value) + ",";
  header += checksumEntry(hexadecimal(0)) + "},";
  for (const auto& [name, tensor] : tensors) {
    header += quoted(name) + ":{\"dtype\":\"" + typeName(tensor.scalar_type(), name) + "\",\"shape\":[";
    for (int64_t i = 0; i < tensor.dim(); ++i) {
      if (i > 0) header += ',';
      header += std::to_string(tensor.size(i));
    }
    header += "],\"data_offsets\":[" + std::to_string(begin[name]) + "," +
              std::to_string(begin[name] + tensor.nbytes()) + "]},";
  }
  header.back() = '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string zeros = checksumEntry(hexadecimal(0));
  header.replace(header.find(zeros), zeros.size(), checksumEntry(hexadecimal(checksum(header, data))));

  std::string length(8, '\0');
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  OutputFile file(path);
  file.write(length.data(), length.size());
  file.write(header.data(), header.size());
  for (const auto* item : order) file.write(item->second.const_data_ptr(), item->second.nbytes());
  file.commit();
}

}  // namespace ssn

#include "files/pickle.h"

#include <locale.h>
#include <stdlib.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include <bit>
#include <cctype>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "error.h"

namespace ssn {
namespace {

using Kind = Value::Kind;

// One byte of a pickle can make a value of about 100 bytes. The limit bounds the memory that a hostile file can ask
// for.
constexpr uint64_t kMaxOperations = 2'000'000;

template <size_t N>
bool among(const std::string& name, const char* const (&list)[N]) {
  for (const char* candidate : list)
    if (name == candidate) return true;
  return false;
}

constexpr const char* kRebuild[] = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor",
                                    "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"};
constexpr const char* kDicts[] = {"collections.OrderedDict", "collections.defaultdict"};
constexpr const char* kSets[] = {"builtins.set", "builtins.frozenset", "__builtin__.set", "__builtin__.frozenset"};
// Classes that a defaultdict may call to make a missing value.
constexpr const char* kFactories[] = {"builtins.int",     "builtins.float",   "builtins.list",   "builtins.dict",
                                      "builtins.str",     "builtins.bool",    "__builtin__.int", "__builtin__.float",
                                      "__builtin__.list", "__builtin__.dict", "__builtin__.str", "__builtin__.bool"};

// Classes of plain data that PyTorch, Lightning, anomalib and OmegaConf put beside the weights (hyperparameters, paths,
// transforms, learning-rate schedules). Their objects become Opaque: they are not built, and hold no tensor.
const std::map<std::string, std::set<std::string>> kOpaque = {
    {"torch",
     {"Size", "device", "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
      "contiguous_format", "strided"}},
    {"builtins", {"bytes", "bytearray", "complex", "tuple", "object", "slice", "range"}},
    {"__builtin__", {"long", "unicode", "tuple", "object", "complex", "bytearray"}},
    {"_codecs", {"encode"}},
    {"argparse", {"Namespace"}},
    {"types", {"SimpleNamespace"}},
    {"typing", {"Any"}},
    {"collections", {"Counter", "deque"}},
    {"uuid", {"UUID"}},
    {"decimal", {"Decimal"}},
    {"fractions", {"Fraction"}},
    {"datetime", {"datetime", "date", "time", "timedelta", "timezone"}},
    {"pathlib", {"Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"}},
    {"pathlib._local", {"Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"}},
    {"numpy", {"dtype", "ndarray"}},
    {"numpy.core.multiarray", {"scalar", "_reconstruct"}},
    {"numpy._core.multiarray", {"scalar", "_reconstruct"}},
    {"omegaconf.dictconfig", {"DictConfig"}},
    {"omegaconf.listconfig", {"ListConfig"}},
    {"omegaconf.base", {"ContainerMetadata", "Metadata"}},
    {"omegaconf.nodes", {"AnyNode", "IntegerNode", "FloatNode", "StringNode", "BooleanNode"}},
    {"pytorch_lightning.utilities.parsing", {"AttributeDict"}},
    {"lightning.pytorch.utilities.parsing", {"AttributeDict"}},
    {"lightning.fabric.utilities.data", {"AttributeDict"}},
    {"lightning_fabric.utilities.data", {"AttributeDict"}},
    {"lightning_utilities.core.enums", {"StrEnum"}},
    {"anomalib", {"LearningType", "TaskType", "PrecisionType"}},
    {"anomalib.data.task_type", {"TaskType"}},
    {"anomalib.data.utils", {"TestSplitMode", "ValSplitMode"}},
    {"anomalib.metrics.threshold.f1_adaptive_threshold", {"F1AdaptiveThreshold"}},
    {"anomalib.utils.normalization", {"NormalizationMethod"}},
};

// Transforms that anomalib 1.x stores in its checkpoints.
constexpr const char* kOpaqueModules[] = {"torchvision.transforms.v2.", "torchvision.transforms.functional.",
                                          "torchvision.transforms.transforms."};

std::optional<at::ScalarType> storageType(const std::string& name) {
  static constexpr std::pair<const char*, at::ScalarType> kTypes[] = {
      {"FloatStorage", at::kFloat},       {"DoubleStorage", at::kDouble}, {"HalfStorage", at::kHalf},
      {"BFloat16Storage", at::kBFloat16}, {"LongStorage", at::kLong},     {"IntStorage", at::kInt},
      {"ShortStorage", at::kShort},       {"CharStorage", at::kChar},     {"ByteStorage", at::kByte},
      {"BoolStorage", at::kBool}};
  for (const char* prefix : {"torch.", "torch.cuda.", "torch.storage."}) {
    if (!name.starts_with(prefix)) continue;
    for (const auto& [type, scalar] : kTypes)
      if (name.compare(std::strlen(prefix), std::string::npos, type) == 0) return scalar;
  }
  return std::nullopt;
}

bool isOpaque(const std::string& name) {
  const size_t dot = name.rfind('.');
  const auto classes = kOpaque.find(name.substr(0, dot));
  if (classes != kOpaque.end() && classes->second.contains(name.substr(dot + 1))) return true;
  for (const char* module : kOpaqueModules)
    if (name.starts_with(module)) return true;
  return false;
}

class Unpickler {
 public:
  Unpickler(ByteReader& in, Globals allowed) : in_(in), allowed_(allowed) {}

  Pickle run() {
    while (out_.root == nullptr) step(in_.byte());
    return std::move(out_);
  }

 private:
  [[noreturn]] void corrupt(const std::string& what) const {
    in_.file().corrupt("its pickle is wrong near byte " + std::to_string(in_.position()) + ": " + what);
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error("PICKLE_REFUSED", in_.file().path() + ": the file asks to run " + what, in_.file().path());
  }

  // --- values and stack ---
  Value* make(Kind kind) {
    out_.values.emplace_back().kind = kind;
    return &out_.values.back();
  }
  void push(Value* value) { stack_.push_back(value); }
  Value& pushed(Kind kind) {
    push(make(kind));
    return *stack_.back();
  }
  void push(Kind kind) { pushed(kind); }
  void pushInt(int64_t value) { pushed(Kind::Int).integer = value; }
  void pushBool(bool value) { pushed(Kind::Bool).integer = value; }
  void pushFloat(double value) { pushed(Kind::Float).number = value; }
  void pushText(Kind kind, std::string text) { pushed(kind).text = std::move(text); }

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Value* pop() {
    if (stack_.size() <= floor()) corrupt("the stack is empty");
    Value* top = stack_.back();
    stack_.pop_back();
    return top;
  }
  Value* top() {
    if (stack_.size() <= floor()) corrupt("the stack is empty");
    return stack_.back();
  }
  Value* popOf(Kind kind, const char* what) {
    Value* value = pop();
    if (!value->is(kind)) corrupt(std::string(what) + " was expected");
    return value;
  }
  std::vector<Value*> popToMark() {
    if (marks_.empty()) corrupt("a mark is missing");
    std::vector<Value*> out(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return out;
  }
  void pushItems(Kind kind, std::vector<Value*> items) {
    if (kind == Kind::Dict && items.size() % 2) corrupt("a dictionary has a key without a value");
    pushed(kind).items = std::move(items);
  }
  void append(Kind kind, const std::vector<Value*>& items) {
    Value* container = top();
    if (container->is(Kind::Opaque)) return;
    if (!container->is(kind)) corrupt("items are added to something that is not their container");
    if (kind == Kind::Dict && items.size() % 2) corrupt("a dictionary has a key without a value");
    container->items.insert(container->items.end(), items.begin(), items.end());
  }

  // --- memo ---
  void put(uint64_t key) { memo_[key] = top(); }
  void get(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) corrupt("a value is referred to before it exists");
    push(found->second);
  }

  // --- numbers and text ---
  template <class T>
  T parsed(const std::string& text) const {
    T value{};
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (text.empty() || error != std::errc() || stop != end) notANumber(text);
    return value;
  }
  // std::from_chars reads floats since GCC 11 only. Whatever the process's locale is, the point is a point.
  double parsedFloat(const std::string& text) const {
    static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
    char* stop = nullptr;
    const double value = strtod_l(text.c_str(), &stop, plain);
    if (text.empty() || std::isspace(static_cast<unsigned char>(text[0])) || stop != text.c_str() + text.size())
      notANumber(text);
    return value;
  }
  [[noreturn]] void notANumber(const std::string& text) const {
    corrupt("'" + text.substr(0, 40) + "' is not a number");
  }
  void pushLong(const std::string& bytes) {
    if (bytes.size() > 8) return pushText(Kind::BigInt, bytes);
    uint64_t value = !bytes.empty() && (bytes.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) value = (value << 8) | static_cast<uint8_t>(bytes[i]);
    pushInt(static_cast<int64_t>(value));
  }
  static void appendUtf8(std::string& out, uint32_t code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }
  // Text in protocol 0: Latin-1 with Python's escapes \\ \' \n \t \r \xNN and \uNNNN.
  std::string unescaped(const std::string& text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        appendUtf8(out, static_cast<uint8_t>(text[i]));
        continue;
      }
      const char kind = text[++i];
      if (kind == 'n' || kind == 't' || kind == 'r') {
        out += kind == 'n' ? '\n' : kind == 't' ? '\t' : '\r';
      } else if (kind == 'x' || kind == 'u') {
        const size_t digits = kind == 'x' ? 2 : 4;
        if (i + digits >= text.size()) corrupt("an escape in a text is cut off");
        uint32_t code = 0;
        const char* first = text.data() + i + 1;
        if (std::from_chars(first, first + digits, code, 16).ptr != first + digits)
          corrupt("an escape in a text is not hexadecimal");
        i += digits;
        appendUtf8(out, code);
      } else {
        appendUtf8(out, static_cast<uint8_t>(kind));
      }
    }
    return out;
  }

  // --- names ---
  void pushGlobal(const std::string& module, const std::string& name) {
    const std::string full = module + "." + name;
    const bool containers = among(full, kDicts) || among(full, kSets) || among(full, kFactories);
    const bool tensors = allowed_ == Globals::Tensors && (among(full, kRebuild) || storageType(full) || isOpaque(full));
    if (!containers && !tensors) {
      const bool model = module.starts_with("torch.nn.") || full.starts_with("__torch__.");
      refuse("'" + full + "', which is neither a tensor nor a plain container. It was refused and nothing was run." +
             (allowed_ == Globals::Tensors
                  ? std::string(" Save the weights alone: torch.save(model.state_dict(), ...)") +
                        (model ? "; this file holds a whole model." : " or as safetensors.")
                  : ""));
    }
    pushText(Kind::Global, full);
  }

  void reduce(Value* callee, Value* arguments) {
    if (callee->is(Kind::Opaque)) return push(Kind::Opaque);
    if (!callee->is(Kind::Global) || !arguments->is(Kind::Tuple)) corrupt("something that is not a name is called");
    const std::string& name = callee->text;
    const std::vector<Value*>& args = arguments->items;
    if (name == "torch._utils._rebuild_parameter" || name == "torch._utils._rebuild_parameter_with_state") {
      if (args.empty() || !args[0]->is(Kind::Tensor)) corrupt("a parameter without a tensor");
      push(args[0]);
    } else if (among(name, kRebuild)) {
      push(rebuildTensor(args));
    } else if (name == "torch.Size" && args.size() == 1 && args[0]->is(Kind::Tuple)) {
      push(args[0]);
    } else if (among(name, kDicts)) {
      Value* dict = make(Kind::Dict);
      // OrderedDict([(key, value), ..]) of old protocols; defaultdict(factory) has no pairs.
      if (name == "collections.OrderedDict" && args.size() == 1 && args[0]->is(Kind::List)) {
        for (Value* pair : args[0]->items) {
          if ((!pair->is(Kind::Tuple) && !pair->is(Kind::List)) || pair->items.size() != 2)
            corrupt("an OrderedDict is not made of pairs");
          dict->items.insert(dict->items.end(), pair->items.begin(), pair->items.end());
        }
      }
      push(dict);
    } else if (among(name, kSets)) {
      if (args.size() > 1 || (args.size() == 1 && !args[0]->is(Kind::List) && !args[0]->is(Kind::Tuple)))
        corrupt("a set is not made of a list");
      pushItems(Kind::Set, args.empty() ? std::vector<Value*>() : args[0]->items);
    } else if (storageType(name)) {
      corrupt("a storage is made by a call");
    } else {
      push(Kind::Opaque);
    }
  }

  std::vector<int64_t> dimensions(const Value* value) const {
    if (!value->is(Kind::Tuple) && !value->is(Kind::List)) corrupt("a tensor's shape is not a tuple");
    if (value->items.size() > 64) corrupt("a tensor has more than 64 dimensions");
    std::vector<int64_t> out;
    for (const Value* item : value->items) {
      if (!item->is(Kind::Int) || item->integer < 0) corrupt("a tensor's shape or stride is not a whole number");
      out.push_back(item->integer);
    }
    return out;
  }

  Value* rebuildTensor(const std::vector<Value*>& args) {
    if (args.size() < 4 || !args[0]->is(Kind::Storage) || !args[1]->is(Kind::Int) || args[1]->integer < 0)
      corrupt("a tensor lacks storage, offset, shape or stride");
    Value* out = make(Kind::Tensor);
    out->tensor = std::make_unique<TensorRef>(*args[0]->tensor);
    out->tensor->offset = args[1]->integer;
    out->tensor->sizes = dimensions(args[2]);
    out->tensor->strides = dimensions(args[3]);
    if (out->tensor->sizes.size() != out->tensor->strides.size())
      corrupt("a tensor's shape and stride differ in length");
    return out;
  }

  // ('storage', class, key, location, elements) and, in the legacy format, None or (view key, offset, elements).
  void pushStorage(const Value* id) {
    const std::vector<Value*>& items = id->items;
    if (allowed_ != Globals::Tensors || !id->is(Kind::Tuple) || items.size() < 5 || !items[0]->is(Kind::String) ||
        items[0]->text != "storage" || !items[1]->is(Kind::Global) || !items[2]->is(Kind::String) ||
        !items[4]->is(Kind::Int) || items[4]->integer < 0)
      corrupt("a reference to something outside is not a storage");
    const std::optional<at::ScalarType> type = storageType(items[1]->text);
    if (!type) corrupt("'" + items[1]->text + "' is not a storage");
    StorageRef storage{*type, items[2]->text, items[4]->integer, 0};
    if (items.size() > 5 && !items[5]->is(Kind::None)) {
      const Value* view = items[5];
      if (!view->is(Kind::Tuple) || view->items.size() != 3 || !view->items[1]->is(Kind::Int) ||
          view->items[1]->integer < 0)
        corrupt("a storage view is malformed");
      storage.viewOffset = view->items[1]->integer;
    }
    const auto known = out_.storages.emplace(storage.key, storage.type);
    if (known.first->second != storage.type) corrupt("storage '" + storage.key + "' has two element types");
    Value& value = pushed(Kind::Storage);
    value.tensor = std::make_unique<TensorRef>();
    value.tensor->storage = std::move(storage);
  }

  void build() {
    pop();  // the state
    const Value* object = top();
    // An OrderedDict's state is its attributes (state_dict's _metadata): no tensors.
    if (!object->is(Kind::Dict) && !object->is(Kind::Opaque) && !object->is(Kind::Tensor))
      corrupt("attributes are set on something without any");
  }

  void step(uint8_t operation) {
    if (++operations_ > kMaxOperations) corrupt("it has more than " + std::to_string(kMaxOperations) + " operations");
    switch (operation) {
      case 0x80: {  // PROTO
        const int protocol = in_.byte();
        if (protocol > 5) corrupt("pickle protocol " + std::to_string(protocol) + " is not known");
        return;
      }
      case 0x95:  // FRAME
        in_.little(8);
        return;
      case '.':
        out_.root = pop();
        return;

      case '(':
        return marks_.push_back(stack_.size());
      case '0':  // POP
        if (!marks_.empty() && stack_.size() == marks_.back()) return marks_.pop_back();
        pop();
        return;
      case '1':
        popToMark();
        return;
      case '2':
        return push(top());

      case 'N':
        return push(Kind::None);
      case 0x88:
        return pushBool(true);
      case 0x89:
        return pushBool(false);
      case 'I': {
        const std::string text = in_.line();
        if (text == "00" || text == "01") return pushBool(text == "01");
        return pushInt(parsed<int64_t>(text));
      }
      case 'L': {
        std::string text = in_.line();
        if (text.ends_with("L")) text.pop_back();
        return pushInt(parsed<int64_t>(text));
      }
      case 'J':
        return pushInt(static_cast<int32_t>(in_.little(4)));
      case 'K':
        return pushInt(in_.byte());
      case 'M':
        return pushInt(static_cast<int64_t>(in_.little(2)));
      case 0x8a:
        return pushLong(in_.take(in_.byte()));
      case 0x8b:
        return pushLong(in_.take(in_.little(4)));
      case 'F':
        return pushFloat(parsedFloat(in_.line()));
      case 'G': {
        uint64_t bits = 0;
        for (int i = 0; i < 8; ++i) bits = (bits << 8) | in_.byte();
        return pushFloat(std::bit_cast<double>(bits));
      }

      case 'S': {
        const std::string text = in_.line();
        if (text.size() < 2 || (text.front() != '\'' && text.front() != '"') || text.back() != text.front())
          corrupt("a text is not quoted");
        return pushText(Kind::String, unescaped(text.substr(1, text.size() - 2)));
      }
      case 'V':
        return pushText(Kind::String, unescaped(in_.line()));
      case 'T':
      case 'X':
        return pushText(Kind::String, in_.take(in_.little(4)));
      case 'U':
      case 0x8c:
        return pushText(Kind::String, in_.take(in_.byte()));
      case 0x8d:
        return pushText(Kind::String, in_.take(in_.little(8)));
      case 'B':
        return pushText(Kind::Bytes, in_.take(in_.little(4)));
      case 'C':
        return pushText(Kind::Bytes, in_.take(in_.byte()));
      case 0x8e:
      case 0x96:
        return pushText(Kind::Bytes, in_.take(in_.little(8)));

      case ']':
        return push(Kind::List);
      case '}':
        return push(Kind::Dict);
      case ')':
        return push(Kind::Tuple);
      case 0x8f:
        return push(Kind::Set);
      case 'l':
        return pushItems(Kind::List, popToMark());
      case 'd':
        return pushItems(Kind::Dict, popToMark());
      case 't':
        return pushItems(Kind::Tuple, popToMark());
      case 0x91:
        return pushItems(Kind::Set, popToMark());
      case 0x85:
      case 0x86:
      case 0x87: {
        std::vector<Value*> items(operation - 0x84);
        for (size_t i = items.size(); i-- > 0;) items[i] = pop();
        return pushItems(Kind::Tuple, std::move(items));
      }
      case 'a':
        return append(Kind::List, {pop()});
      case 'e':
        return append(Kind::List, popToMark());
      case 's': {
        Value* value = pop();
        return append(Kind::Dict, {pop(), value});
      }
      case 'u':
        return append(Kind::Dict, popToMark());
      case 0x90:
        return append(Kind::Set, popToMark());

      case 'p':
        return put(parsed<uint64_t>(in_.line()));
      case 'q':
        return put(in_.byte());
      case 'r':
        return put(in_.little(4));
      case 0x94:
        return put(memo_.size());
      case 'g':
        return get(parsed<uint64_t>(in_.line()));
      case 'h':
        return get(in_.byte());
      case 'j':
        return get(in_.little(4));

      case 'c': {
        const std::string module = in_.line();
        return pushGlobal(module, in_.line());
      }
      case 0x93: {
        const Value* name = popOf(Kind::String, "a name");
        const Value* module = popOf(Kind::String, "a module's name");
        return pushGlobal(module->text, name->text);
      }
      case 0x92:  // NEWOBJ_EX: its keyword arguments come first
        pop();
        [[fallthrough]];
      case 'R':
      case 0x81: {  // REDUCE, NEWOBJ
        Value* arguments = pop();
        return reduce(pop(), arguments);
      }
      case 'b':
        return build();
      case 'i': {  // INST
        const std::string module = in_.line();
        pushGlobal(module, in_.line());
        Value* callee = pop();
        pushItems(Kind::Tuple, popToMark());
        return reduce(callee, pop());
      }
      case 'o': {  // OBJ
        std::vector<Value*> items = popToMark();
        if (items.empty()) corrupt("an object without a class");
        Value* arguments = make(Kind::Tuple);
        arguments->items.assign(items.begin() + 1, items.end());
        return reduce(items[0], arguments);
      }
      case 'Q':
        return pushStorage(pop());

      case 0x82:
      case 0x83:
      case 0x84:
        refuse("an object by its number in Python's extension registry. It was refused and nothing was run.");
      default:
        corrupt("operation " + std::to_string(operation) + " is not known");
    }
  }

  ByteReader& in_;
  Globals allowed_;
  Pickle out_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Value*> memo_;
  uint64_t operations_ = 0;
};

}  // namespace

const Value* Value::find(const std::string& key) const {
  for (size_t i = items.size(); i >= 2; i -= 2)
    if (items[i - 2]->is(Kind::String) && items[i - 2]->text == key) return items[i - 1];
  return nullptr;
}

Pickle unpickle(ByteReader& in, Globals allowed) { return Unpickler(in, allowed).run(); }

}  // namespace ssn

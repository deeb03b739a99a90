#include "anomalies/initialise.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <numbers>

#include "anomalies/philox.h"

namespace ssn {
namespace {

uint32_t hash(const std::string& name) {  // FNV-1a
  uint32_t h = 0x811C9DC5;
  for (unsigned char c : name) h = (h ^ c) * 0x01000193;
  return h;
}

// Calls make(words) for every block of four values.
template <class Make>
at::Tensor filled(uint64_t seed, const std::string& name, const std::vector<int64_t>& shape, Make&& make) {
  at::Tensor out = at::empty(shape, at::kFloat);
  float* data = out.data_ptr<float>();
  const int64_t count = out.numel();
  // The last word keeps these streams apart from those of training, whose third word has a purpose in its top byte.
  const uint32_t tag = hash(name);
  for (int64_t i = 0; i < count; i += 4) {
    const PhiloxBlock words = philox4x32({static_cast<uint32_t>(i / 4), 0, tag, 0x494E4954},
                                         static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    const std::array<double, 4> values = make(words);
    for (int64_t j = 0; j < 4 && i + j < count; ++j) data[i + j] = static_cast<float>(values[j]);
  }
  return out;
}

double unit(uint32_t word) { return (word + 0.5) * 0x1p-32; }  // (0, 1)

}  // namespace

at::Tensor normalTensor(uint64_t seed, const std::string& name, std::vector<int64_t> shape, double std) {
  return filled(seed, name, shape, [deviation = std](const PhiloxBlock& words) {
    std::array<double, 4> out;
    for (int j = 0; j < 4; j += 2) {
      const double radius = deviation * std::sqrt(-2.0 * std::log(unit(words[j]))),
                   angle = 2.0 * std::numbers::pi * unit(words[j + 1]);
      out[j] = radius * std::cos(angle);
      out[j + 1] = radius * std::sin(angle);
    }
    return out;
  });
}

at::Tensor uniformTensor(uint64_t seed, const std::string& name, std::vector<int64_t> shape, double limit) {
  return filled(seed, name, shape, [limit](const PhiloxBlock& words) {
    std::array<double, 4> out;
    for (int j = 0; j < 4; ++j) out[j] = limit * (2.0 * unit(words[j]) - 1.0);
    return out;
  });
}

}  // namespace ssn

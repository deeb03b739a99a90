// The pixels of a BMP: the fields of a layout, a palette, and the file that they lie in. lib/images/bmp.ts checks
// headers before; here the engine's own check must be enough. Every buffer is a block of its own, so that a byte beyond
// it shows.
#include "images/bmp.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr size_t kFields = 9;
constexpr int64_t kMostPixels = int64_t{1} << 20;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  int64_t fields[kFields];
  if (bytes < sizeof fields + 1) return 0;
  std::memcpy(fields, data, sizeof fields);
  const auto [width, height, bits, offset, stride, red, green, blue, claimed] = fields;
  const bool topDown = data[sizeof fields] % 2 == 1;
  const uint8_t* rest = data + sizeof fields + 1;
  const uint8_t* end = data + bytes;
  const int64_t colours = claimed >= 0 && claimed <= 256 && 3 * claimed <= end - rest ? claimed : 0;
  const std::vector<uint8_t> palette(rest, rest + 3 * colours);
  const std::vector<uint8_t> file(rest + 3 * colours, end);

  const ssn::BmpLayout layout{width, height, bits, topDown, offset, stride, red, green, blue};
  const int64_t reached = ssn::bmpEnd(layout);
  if (reached <= 0 || reached > static_cast<int64_t>(file.size()) || width > kMostPixels / height) return 0;
  std::vector<uint8_t> out(static_cast<size_t>(width * height * 3));
  const int highest = ssn::bmpPixels(file.data(), layout, palette.data(), colours, out.data());
  if (highest < 0 || (bits <= 8 ? highest >= 1 << bits : highest != 0)) {
    std::fprintf(stderr, "the highest index is %d with %d bits\n", highest, static_cast<int>(bits));
    std::abort();
  }
  return 0;
}

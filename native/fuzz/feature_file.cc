// The feature cache file: opened, searched, added to and opened again. Its checksums would stop nearly every mutation,
// so half of them get new ones.
#include "training/feature_file.h"

#include <ATen/ops/full.h>

#include <algorithm>

#include "files/checksum.h"
#include "fuzz/file.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t bytes, size_t limit);

namespace {

constexpr size_t kHead = 64;
// 4 x 2 x 2 and 2 x 1 x 1 numbers of float32.
constexpr size_t kRecord = kHead + 4 * (4 * 2 * 2 + 2);
const std::vector<ssn::LayerShape> kShapes = {{4, 2, 2}, {2, 1, 1}};
constexpr size_t kRecords = 8;

ssn::Digest digestOf(uint8_t value) {
  ssn::Digest out;
  out.fill(value);
  return out;
}

void put(uint8_t* at, uint64_t value) { std::memcpy(at, &value, sizeof value); }

void seal(uint8_t* data, size_t bytes) {
  if (bytes < kHead) return;
  put(data + 48, ssn::checksumOf(data, 48));
  for (size_t slot = 0; kHead + (slot + 1) * kRecord <= bytes; ++slot) {
    uint8_t* head = data + kHead + slot * kRecord;
    const uint64_t first = ssn::checksumOf(head + kHead, 4 * 16);
    put(head + 32, ssn::checksumOf(head + kHead + 4 * 16, 4 * 2, first));
    put(head + 40, ssn::checksumOf(head, 40, slot));
  }
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t bytes, size_t limit, unsigned int seed) {
  bytes = LLVMFuzzerMutate(data, bytes, limit);
  if (seed % 2 == 0) seal(data, bytes);
  return bytes;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string path = ssn::fuzz::fileWith(data, bytes);
  ssn::fuzz::mustReadOrRefuse([&] {
    const ssn::Digest fresh = digestOf(0xEE);
    const std::vector<at::Tensor> layerMaps = {at::full({1, 4, 2, 2}, 1.5f), at::full({1, 2, 1, 1}, 2.5f)};
    bool written = false;
    {
      ssn::FeatureFile file(path, digestOf(1), kShapes, at::kFloat, kHead + kRecords * kRecord);
      for (uint8_t value = 0; value < 16; ++value) file.find(digestOf(value));
      written = !file.contains(fresh);
      file.offer(fresh, layerMaps);
      written = written && file.contains(fresh);
      file.takeWarnings();
    }
    // What was stored must be found again, whatever lay in the file before.
    ssn::FeatureFile file(path, digestOf(1), kShapes, at::kFloat, kHead + kRecords * kRecord);
    const auto found = file.find(fresh);
    if (written && (!found || !found->at(0).equal(layerMaps[0]) || !found->at(1).equal(layerMaps[1]))) {
      std::fprintf(stderr, "a stored feature is not found again\n");
      std::abort();
    }
  });
  return 0;
}

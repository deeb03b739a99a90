// The legacy stream of torch.save: five pickles, storages.
#include "files/pytorch.h"
#include "fuzz/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  ssn::fuzz::mustReadOrRefuse([&] { ssn::readPytorchLegacy(ssn::InputFile(ssn::fuzz::fileWith(data, bytes)), {}); });
  return 0;
}

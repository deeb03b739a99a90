// Zip archives of torch.save: directory, pickle, storages.
#include "files/pytorch.h"
#include "fuzz/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  ssn::fuzz::mustReadOrRefuse([&] { ssn::readPytorchZip(ssn::InputFile(ssn::fuzz::fileWith(data, bytes)), {}); });
  return 0;
}

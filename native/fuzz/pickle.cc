// Pickles by themselves: split files of data sets, and what a checkpoint may hold.
#include "files/pickle.h"
#include "fuzz/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string path = ssn::fuzz::fileWith(data, bytes);
  for (const ssn::Globals allowed : {ssn::Globals::Containers, ssn::Globals::Tensors})
    ssn::fuzz::mustReadOrRefuse([&] {
      const ssn::InputFile file(path);
      ssn::ByteReader in(file, 0, file.size());
      ssn::unpickle(in, allowed);
    });
  return 0;
}

// Copies of images that belong to the caller, who may use the memory again at once. No libtorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace ssn {

// The copy is made on JavaScript's thread. A fresh block costs it more than the copying, because every page has to be
// faulted in; so freed blocks are kept for the next image: two at most, and no more than 256 MiB.
std::shared_ptr<const uint8_t> copiedFrame(const uint8_t* image, size_t bytes);

}  // namespace ssn

// How kernels (native/kernels) start on a GPU: on the current stream of the device. CUDA engine only; the templates are
// instantiated in native/cuda/*.cu for every kernel that is used, and a missing one shows when the engine is opened.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace ssn::cuda {

// `stream` is a cudaStream_t of the calling thread's current device. Throw std::runtime_error when the launch is
// refused.
template <class Body>
void launchForEach(void* stream, int64_t count, const Body& body);
template <class Body>
void launchReduceRows(void* stream, int64_t rows, const Body& body);

// Makes `device` current for as long as it lives, and gives its current stream.
class OnDevice {
 public:
  explicit OnDevice(c10::Device device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  void* stream() const;

 private:
  c10::DeviceIndex device_, before_;
};

template <class Body>
void forEach(c10::Device device, int64_t count, const Body& body) {
  const OnDevice on(device);
  launchForEach(on.stream(), count, body);
}

template <class Body>
void reduceRows(c10::Device device, int64_t rows, const Body& body) {
  const OnDevice on(device);
  launchReduceRows(on.stream(), rows, body);
}

}  // namespace ssn::cuda

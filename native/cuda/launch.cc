#ifdef SSN_CUDA

#include "cuda/launch.h"

#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

namespace ssn::cuda {

OnDevice::OnDevice(c10::Device device) : device_(device.index()), before_(c10::cuda::current_device()) {
  if (device_ < 0) device_ = before_;
  if (device_ != before_) c10::cuda::set_device(device_);
}

OnDevice::~OnDevice() {
  if (device_ != before_) c10::cuda::MaybeSetDevice(before_);
}

void* OnDevice::stream() const { return c10::cuda::getCurrentCUDAStream(device_).stream(); }

}  // namespace ssn::cuda

#endif

// Allows TF32 in the float32 products and convolutions of a GPU while it lives. The setting belongs to the process:
// another thread that computes in float32 on a GPU at that time gets it too.
#pragma once

#include <ATen/Context.h>

namespace ssn {

class AllowTf32 {
 public:
  AllowTf32(at::Device device, bool allow) : set_(device.is_cuda() && allow) {
    if (set_) set(true);
  }
  ~AllowTf32() {
    if (set_) set(false);
  }
  AllowTf32(const AllowTf32&) = delete;
  AllowTf32& operator=(const AllowTf32&) = delete;

  static void set(bool allow) {
    at::globalContext().setAllowTF32CuDNN(allow);
    at::globalContext().setAllowTF32CuBLAS(allow);
  }

 private:
  bool set_;
};

}  // namespace ssn

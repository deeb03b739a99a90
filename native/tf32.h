// TF32 for the float32 products and convolutions of a GPU, for as long as this lives. A setting of the process: another
// thread that computes in float32 on a GPU meanwhile gets it too.
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

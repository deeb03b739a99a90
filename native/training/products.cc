#include "training/products.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>

namespace ssn {

at::Tensor product(const at::Tensor& a, const at::Tensor& b, at::ScalarType precision) {
  if (precision == at::kFloat) return at::mm(a, b);
#ifdef SSN_CUDA
  if (a.is_cuda()) return at::mm(a.to(precision), b.to(precision), at::kFloat);  // not rounded in between
#endif
  return at::mm(a.to(precision), b.to(precision)).to(at::kFloat);
}

at::Tensor productToUpscale(const at::Tensor& a, const at::Tensor& b, at::ScalarType precision) {
  return runsOnHost(a) ? at::mm(a.to(precision), b.to(precision)) : product(a, b, precision);
}

void addProduct(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b, at::ScalarType precision) {
  if (precision == at::kFloat) {
    sum.addmm_(a, b);
  } else {
    sum.add_(product(a, b, precision));
  }
}

}  // namespace ssn

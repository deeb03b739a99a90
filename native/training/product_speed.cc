#include "training/product_speed.h"

#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "cancel.h"

namespace ssn {
namespace {

struct Shape {
  int64_t rows, inner, columns;
};

double milliseconds(const at::Tensor& a, const at::Tensor& b, at::ScalarType precision) {
  throwIfCancelled();
  const auto start = std::chrono::steady_clock::now();
  at::mm(a.to(precision), b.to(precision)).to(at::kFloat);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// The first of each warms up.
ProductSpeed fastest(Shape shape, int repetitions) {
  const at::Tensor a = at::full({shape.rows, shape.inner}, 0.5f), b = at::full({shape.inner, shape.columns}, 0.25f);
  ProductSpeed out{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  for (int i = 0; i < repetitions; ++i) {
    out.float32Ms = std::min(out.float32Ms, milliseconds(a, b, at::kFloat));
    out.bfloat16Ms = std::min(out.bfloat16Ms, milliseconds(a, b, at::kBFloat16));
  }
  return out;
}

}  // namespace

// Without instructions for bfloat16 the large products would take seconds.
ProductSpeed measureProducts() {
  const ProductSpeed probe = fastest({128, 384, 256}, 3);
  return probe.bfloat16Ms >= probe.float32Ms ? probe : fastest({1024, 768, 512}, 3);
}

}  // namespace ssn

#include "heads/low_resolution.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

namespace ssn {
namespace {

// n x s -> n x (s 5): column (i, d) is column i shifted by d - 2 rows.
at::Tensor withShifts(const at::Tensor& matrix) {
  std::vector<at::Tensor> shifted;
  for (int64_t d = 0; d < kTapSide; ++d) shifted.push_back(shiftedRows(matrix, d - kTapSide / 2));
  return at::stack(shifted, 2).reshape({matrix.size(0), matrix.size(1) * kTapSide});
}

}  // namespace

LowResolutionGeometry::LowResolutionGeometry(const std::vector<TapShape>& taps, bool alignCorners, at::Device device)
    : taps_(taps), shape_(featureShape(taps)) {
  std::vector<at::Tensor> rows, tapRows;
  for (const auto& tap : taps) {
    const at::Tensor u = upscalePoolMatrix(tap.height, shape_.height, alignCorners);
    const at::Tensor v = upscalePoolMatrix(tap.width, shape_.width, alignCorners);
    rows.push_back(u);
    tapRows.push_back(withShifts(u));
    columns_.emplace_back(v, device);
    tapColumns_.emplace_back(withShifts(v), device);
    rowCount_ += tap.height;
  }
  rows_ = AxisMap(at::cat(rows, 1), device);
  tapRows_ = AxisMap(at::cat(tapRows, 1), device);
  const auto inside = [](int64_t n) {
    std::vector<at::Tensor> out;
    for (int64_t d = 0; d < kTapSide; ++d) out.push_back(shiftedRows(at::ones({n, 1}), d - kTapSide / 2));
    return at::cat(out, 1);  // n x 5
  };
  const at::Tensor y = inside(shape_.height), x = inside(shape_.width);
  insideTaps_ = (y.view({-1, 1, 1, kTapSide}) * x.view({1, -1, kTapSide, 1})).reshape({shape_.height * shape_.width, kTaps}).to(device);
}

// Both directions go through `wide`: the taps one below the other, already at full width. Columns first, because the
// taps are smaller there.
void LowResolutionGeometry::upscale(const std::vector<at::Tensor>& z, at::Tensor out) const {
  const int64_t b = z[0].size(0), k = z[0].size(3), line = shape_.width * k;
  const at::Tensor wide = at::empty({b, rowCount_, line}, z[0].options());
  int64_t row = 0;
  for (size_t l = 0; l < z.size(); ++l) {
    const auto& tap = taps_[l];
    for (int64_t i = 0; i < b; ++i) columns_[l].apply({z[l], i * tap.height * tap.width * k, tap.width * k, k}, {wide, (i * rowCount_ + row) * line, line, k}, tap.height, k);
    row += tap.height;
  }
  rows_.apply({wide, 0, rowCount_ * line, line}, {out, 0, shape_.height * line, line}, b, line);
}

std::vector<at::Tensor> LowResolutionGeometry::upscaleAdjoint(const at::Tensor& gradient) const {
  const int64_t b = gradient.size(0), k = gradient.size(3), line = shape_.width * k;
  const at::Tensor wide = at::empty({b, rowCount_, line}, gradient.options());
  rows_.applyTransposed({gradient.contiguous(), 0, shape_.height * line, line}, {wide, 0, rowCount_ * line, line}, b, line);
  std::vector<at::Tensor> out;
  int64_t row = 0;
  for (size_t l = 0; l < taps_.size(); ++l) {
    const auto& tap = taps_[l];
    out.push_back(at::empty({b, tap.height, tap.width, k}, gradient.options()));
    for (int64_t i = 0; i < b; ++i) columns_[l].applyTransposed({wide, (i * rowCount_ + row) * line, line, k}, {out[l], i * tap.height * tap.width * k, tap.width * k, k}, tap.height, k);
    row += tap.height;
  }
  return out;
}

// The same with rows (h, dy) and columns (w, dx): t is read and `wide` written with k values at a time, once per dy.
at::Tensor LowResolutionGeometry::upscaleTaps(const std::vector<at::Tensor>& t) const {
  const int64_t b = t[0].size(0), k = t[0].size(3) / kTaps, line = shape_.width * k, wideRows = rowCount_ * kTapSide;
  const at::Tensor wide = at::empty({b, wideRows, line}, t[0].options());
  int64_t row = 0;
  for (size_t l = 0; l < t.size(); ++l) {
    const auto& tap = taps_[l];
    for (int64_t i = 0; i < b; ++i)
      for (int64_t dy = 0; dy < kTapSide; ++dy)
        tapColumns_[l].apply({t[l], i * tap.height * tap.width * kTaps * k + dy * k, tap.width * kTaps * k, kTapSide * k}, {wide, (i * wideRows + row + dy) * line, kTapSide * line, k}, tap.height, k);
    row += tap.height * kTapSide;
  }
  at::Tensor out = at::empty({b, shape_.height, shape_.width, k}, t[0].options());
  tapRows_.apply({wide, 0, wideRows * line, line}, {out, 0, shape_.height * line, line}, b, line);
  return out;
}

std::vector<at::Tensor> LowResolutionGeometry::upscaleTapsAdjoint(const at::Tensor& gradient) const {
  const int64_t b = gradient.size(0), k = gradient.size(3), line = shape_.width * k, wideRows = rowCount_ * kTapSide;
  const at::Tensor wide = at::empty({b, wideRows, line}, gradient.options());
  tapRows_.applyTransposed({gradient.contiguous(), 0, shape_.height * line, line}, {wide, 0, wideRows * line, line}, b, line);
  std::vector<at::Tensor> out;
  int64_t row = 0;
  for (size_t l = 0; l < taps_.size(); ++l) {
    const auto& tap = taps_[l];
    out.push_back(at::empty({b, tap.height, tap.width, kTaps * k}, gradient.options()));
    for (int64_t i = 0; i < b; ++i)
      for (int64_t dy = 0; dy < kTapSide; ++dy)
        tapColumns_[l].applyTransposed({wide, (i * wideRows + row + dy) * line, kTapSide * line, k}, {out[l], i * tap.height * tap.width * kTaps * k + dy * k, tap.width * kTaps * k, kTapSide * k}, tap.height, k);
    row += tap.height * kTapSide;
  }
  return out;
}

std::vector<at::Tensor> LowResolutionGeometry::split(const at::Tensor& matrix) const {
  std::vector<at::Tensor> out;
  int64_t column = 0;
  for (const auto& tap : taps_) {
    out.push_back(matrix.slice(1, column, column + tap.channels));
    column += tap.channels;
  }
  return out;
}

at::Tensor tapMajor(const at::Tensor& weight) { return weight.permute({3, 2, 0, 1}).reshape({kTaps * weight.size(0), weight.size(1)}); }

at::Tensor fromTapMajor(const at::Tensor& matrix, int64_t outputs) {
  return matrix.view({kTapSide, kTapSide, outputs, matrix.size(1)}).permute({2, 3, 1, 0}).contiguous();
}

}  // namespace ssn

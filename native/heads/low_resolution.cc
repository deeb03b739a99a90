#include "heads/low_resolution.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
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
    columns_.push_back(v.to(device));
    tapColumns_.push_back(withShifts(v).to(device));
  }
  rows_ = at::cat(rows, 1).to(device);
  tapRows_ = at::cat(tapRows, 1).to(device);
  const auto inside = [](int64_t n) {
    std::vector<at::Tensor> out;
    for (int64_t d = 0; d < kTapSide; ++d) out.push_back(shiftedRows(at::ones({n, 1}), d - kTapSide / 2));
    return at::cat(out, 1);  // n x 5
  };
  const at::Tensor y = inside(shape_.height), x = inside(shape_.width);
  insideTaps_ = (y.view({-1, 1, 1, kTapSide}) * x.view({1, -1, kTapSide, 1})).reshape({shape_.height * shape_.width, kTaps}).to(device);
}

void LowResolutionGeometry::upscale(const std::vector<at::Tensor>& z, at::Tensor out) const {
  const int64_t b = z[0].size(0), k = z[0].size(3);
  std::vector<at::Tensor> wide;
  for (size_t l = 0; l < z.size(); ++l) wide.push_back(at::matmul(columns_[l], z[l]).view({b, taps_[l].height, shape_.width * k}));
  const at::Tensor all = wide.size() == 1 ? wide[0] : at::cat(wide, 1);
  for (int64_t i = 0; i < b; ++i) {
    at::Tensor image = out[i].view({shape_.height, shape_.width * k});
    at::mm_out(image, rows_, all[i]);
  }
}

std::vector<at::Tensor> LowResolutionGeometry::upscaleAdjoint(const at::Tensor& gradient) const {
  const int64_t b = gradient.size(0), k = gradient.size(3);
  const at::Tensor wide = at::matmul(rows_.t(), gradient.reshape({b, shape_.height, shape_.width * k}));
  std::vector<at::Tensor> out;
  int64_t row = 0;
  for (size_t l = 0; l < taps_.size(); ++l) {
    const at::Tensor part = wide.slice(1, row, row + taps_[l].height).view({b, taps_[l].height, shape_.width, k});
    out.push_back(at::matmul(columns_[l].t(), part));
    row += taps_[l].height;
  }
  return out;
}

at::Tensor LowResolutionGeometry::upscaleTaps(const std::vector<at::Tensor>& t) const {
  const int64_t b = t[0].size(0), k = t[0].size(3) / kTaps;
  std::vector<at::Tensor> wide;
  for (size_t l = 0; l < t.size(); ++l) {
    const at::Tensor x = t[l].view({b, taps_[l].height, taps_[l].width * kTapSide, kTapSide * k});
    const at::Tensor w = at::matmul(tapColumns_[l], x).view({b, taps_[l].height, shape_.width, kTapSide, k});
    wide.push_back(w.transpose(2, 3).reshape({b, taps_[l].height * kTapSide, shape_.width * k}));
  }
  return at::matmul(tapRows_, wide.size() == 1 ? wide[0] : at::cat(wide, 1)).view({b, shape_.height, shape_.width, k});
}

std::vector<at::Tensor> LowResolutionGeometry::upscaleTapsAdjoint(const at::Tensor& gradient) const {
  const int64_t b = gradient.size(0), k = gradient.size(3);
  const at::Tensor wide = at::matmul(tapRows_.t(), gradient.reshape({b, shape_.height, shape_.width * k}));
  std::vector<at::Tensor> out;
  int64_t row = 0;
  for (size_t l = 0; l < taps_.size(); ++l) {
    const int64_t rows = taps_[l].height * kTapSide;
    const at::Tensor part = wide.slice(1, row, row + rows).view({b, taps_[l].height, kTapSide, shape_.width, k}).transpose(2, 3);
    const at::Tensor x = part.reshape({b, taps_[l].height, shape_.width, kTapSide * k});
    out.push_back(at::matmul(tapColumns_[l].t(), x).view({b, taps_[l].height, taps_[l].width, kTaps * k}));
    row += rows;
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

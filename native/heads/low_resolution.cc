#include "heads/low_resolution.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <functional>

#include "host_path.h"
#include "parallel.h"

namespace ssn {
namespace {

// n x s -> n x (s 5): column (i, d) is column i shifted by d - 2 rows.
at::Tensor withShifts(const at::Tensor& matrix) {
  std::vector<at::Tensor> shifted;
  for (int64_t d = 0; d < kTapSide; ++d) shifted.push_back(shiftedRows(matrix, d - kTapSide / 2));
  return at::stack(shifted, 2).reshape({matrix.size(0), matrix.size(1) * kTapSide});
}

void overColumns(int64_t width, const std::function<void(int64_t column, int64_t width)>& body) {
  constexpr int64_t kColumns = 1024;
  at::parallel_for(0, (width + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) { body(begin * kColumns, std::min(width, end * kColumns) - begin * kColumns); });
}

// Reused by the thread's next call; kept as long as the thread, so it is sized for one image only.
float* scratch(int64_t floats) {
  static thread_local std::vector<float> buffer;
  if (static_cast<int64_t>(buffer.size()) < floats) buffer.resize(floats);
  return buffer.data();
}

}  // namespace

LowResolutionGeometry::Axis LowResolutionGeometry::axis(const at::Tensor& matrix, at::Device device) {
  Axis out{AxisMap(matrix), AxisMap(matrix.t().contiguous()), {}, {}};
  if (!hostPath(device)) {
    out.dense = matrix.to(device);
    out.sparse = out.map.on(device);
  }
  return out;
}

LowResolutionGeometry::LowResolutionGeometry(const std::vector<TapShape>& taps, bool alignCorners, bool upscale, at::Device device)
    : taps_(taps), shape_(featureShape(taps, upscale)) {
  std::vector<at::Tensor> rows, tapRows;
  for (const auto& tap : taps) {
    const at::Tensor u = upscalePoolMatrix(tap.height, shape_.height, alignCorners);
    const at::Tensor v = upscalePoolMatrix(tap.width, shape_.width, alignCorners);
    rows.push_back(u);
    tapRows.push_back(withShifts(u));
    plain_.tapRows.emplace_back(rows.back());
    shifted_.tapRows.emplace_back(tapRows.back());
    plain_.columns.push_back(axis(v, device));
    shifted_.columns.push_back(axis(withShifts(v), device));
    rowCount_ += tap.height;
  }
  plain_.rows = axis(at::cat(rows, 1), device);
  shifted_.rows = axis(at::cat(tapRows, 1), device);
  const auto inside = [](int64_t n) {
    std::vector<at::Tensor> out;
    for (int64_t d = 0; d < kTapSide; ++d) out.push_back(shiftedRows(at::ones({n, 1}), d - kTapSide / 2));
    return at::cat(out, 1);  // n x 5
  };
  const at::Tensor y = inside(shape_.height), x = inside(shape_.width);
  insideTaps_ = (y.view({-1, 1, 1, kTapSide}) * x.view({1, -1, kTapSide, 1})).reshape({shape_.height * shape_.width, kTaps}).to(device);
}

// Both directions go through `wide`: the taps one below the other, already at full width (columns first, because the
// taps are smaller there). Image by image it stays in the cache; images share the threads if there are enough of them.
void LowResolutionGeometry::upscale(const Axes& axes, int64_t side, const std::vector<at::Tensor>& z, at::Tensor out) const {
  const int64_t b = z[0].size(0), k = out.size(3), line = shape_.width * k;
  if (!hostPath(out)) {
    std::vector<at::Tensor> wide;
    for (size_t l = 0; l < z.size(); ++l) {
      const auto& tap = taps_[l];
      const at::Tensor x = at::matmul(axes.columns[l].dense, z[l].view({b, tap.height, tap.width * side, side * k}));
      wide.push_back(x.view({b, tap.height, shape_.width, side, k}).transpose(2, 3).reshape({b, tap.height * side, line}));
    }
    out.view({b, shape_.height, line}).copy_(at::matmul(axes.rows.dense, at::cat(wide, 1)));
    return;
  }
  forEachShared(b, [&](int64_t i) {
    float* wide = scratch(rowCount_ * side * line);
    float* block = wide;
    for (size_t l = 0; l < z.size(); ++l) {
      const auto& tap = taps_[l];
      const float* in = z[l].data_ptr<float>() + i * tap.height * tap.width * side * side * k;
      at::parallel_for(0, tap.height * side, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row)  // (h, dy)
          axes.columns[l].map.apply(in + row / side * tap.width * side * side * k + row % side * k, side * k, block + row * line, k, k);
      });
      block += tap.height * side * line;
    }
    float* to = out.data_ptr<float>() + i * shape_.height * line;
    overColumns(line, [&](int64_t column, int64_t width) { axes.rows.map.apply(wide + column, line, to + column, line, width); });
  });
}

std::vector<at::Tensor> LowResolutionGeometry::upscaleAdjoint(const Axes& axes, int64_t side, const at::Tensor& gradient) const {
  const int64_t b = gradient.size(0), k = gradient.size(3), line = shape_.width * k;
  std::vector<at::Tensor> out;
  for (const auto& tap : taps_) out.push_back(at::empty({b, tap.height, tap.width, side * side * k}, gradient.options()));
  if (!hostPath(gradient)) {
    const at::Tensor wide = at::matmul(axes.rows.dense.t(), gradient.reshape({b, shape_.height, line}));
    int64_t row = 0;
    for (size_t l = 0; l < taps_.size(); ++l) {
      const auto& tap = taps_[l];
      const at::Tensor part = wide.slice(1, row, row + tap.height * side).view({b, tap.height, side, shape_.width, k}).transpose(2, 3);
      out[l].view({b, tap.height, tap.width * side, side * k}).copy_(at::matmul(axes.columns[l].dense.t(), part.reshape({b, tap.height, shape_.width, side * k})));
      row += tap.height * side;
    }
    return out;
  }
  const at::Tensor dense = gradient.contiguous();
  forEachShared(b, [&](int64_t i) {
    float* wide = scratch(rowCount_ * side * line);
    const float* from = dense.data_ptr<float>() + i * shape_.height * line;
    overColumns(line, [&](int64_t column, int64_t width) { axes.rows.transposed.apply(from + column, line, wide + column, line, width); });
    const float* block = wide;
    for (size_t l = 0; l < taps_.size(); ++l) {
      const auto& tap = taps_[l];
      float* to = out[l].data_ptr<float>() + i * tap.height * tap.width * side * side * k;
      at::parallel_for(0, tap.height * side, 1, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row)
          axes.columns[l].transposed.apply(block + row * line, k, to + row / side * tap.width * side * side * k + row % side * k, side * k, k);
      });
      block += tap.height * side * line;
    }
  });
  return out;
}

LowResolutionGeometry::Sparse LowResolutionGeometry::sparse(bool shifted) const {
  const Axes& axes = shifted ? shifted_ : plain_;
  const int64_t side = shifted ? kTapSide : 1;
  Sparse out{side, rowCount_ * side, axes.rows.sparse, {}};
  for (const Axis& axis : axes.columns) out.columns.push_back(&axis.sparse);
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

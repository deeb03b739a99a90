#include "heads/low_resolution.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

#include "runs_on_host.h"

namespace ssn {
namespace {

// n x s -> n x (s 5): column (i, d) is column i shifted by d - 2 rows.
at::Tensor withShifts(const at::Tensor& matrix) {
  std::vector<at::Tensor> shifted;
  for (int64_t d = 0; d < kTapSide; ++d) shifted.push_back(shiftedRows(matrix, d - kTapSide / 2));
  return at::stack(shifted, 2).reshape({matrix.size(0), matrix.size(1) * kTapSide});
}

}  // namespace

LowResolutionGeometry::Form LowResolutionGeometry::form(const std::vector<at::Tensor>& rows,
                                                        const std::vector<at::Tensor>& columns, int64_t side,
                                                        int64_t channels, at::Device device) const {
  Form out;
  if (runsOnHost(device)) {
    out.rows = RowUpscale(layers_, rows, columns, side, channels);
  } else {
    const at::Tensor all = at::cat(rows, 1);
    out.denseRows = all.to(device);
    out.bandedRows = DeviceAxisMap(all, device);
    for (const at::Tensor& column : columns) {
      out.denseColumns.push_back(column.to(device));
      out.bandedColumns.emplace_back(column, device);
    }
  }
  return out;
}

LowResolutionGeometry::LowResolutionGeometry(const std::vector<LayerShape>& layers, bool alignCorners, bool upscale,
                                             at::Device device)
    : layers_(layers), shape_(featureShape(layers, upscale)) {
  std::vector<at::Tensor> rows, columns, tapRows, tapColumns;
  for (const auto& layer : layers) {
    rows.push_back(upscalePoolMatrix(layer.height, shape_.height, alignCorners));
    columns.push_back(upscalePoolMatrix(layer.width, shape_.width, alignCorners));
    tapRows.push_back(withShifts(rows.back()));
    tapColumns.push_back(withShifts(columns.back()));
  }
  plain_ = form(rows, columns, 1, kSegmentationHidden, device);
  shifted_ = form(tapRows, tapColumns, kTapSide, kClassificationHidden, device);
  const auto inside = [](int64_t n) {
    std::vector<at::Tensor> out;
    for (int64_t d = 0; d < kTapSide; ++d) out.push_back(shiftedRows(at::ones({n, 1}), d - kTapSide / 2));
    return at::cat(out, 1);  // n x 5
  };
  const at::Tensor y = inside(shape_.height), x = inside(shape_.width);
  insideTaps_ = (y.view({-1, 1, 1, kTapSide}) * x.view({1, -1, kTapSide, 1}))
                    .reshape({shape_.height * shape_.width, kTaps})
                    .to(device);
}

// Off the CPU both directions go through an intermediate: all layers one below the other, at full width. Columns come
// first, because the layers are smaller there.
void LowResolutionGeometry::upscale(const Form& form, int64_t side, const std::vector<at::Tensor>& z,
                                    at::Tensor out) const {
  if (runsOnHost(out)) return form.rows.forward(z, out);
  const int64_t b = z[0].size(0), k = out.size(3), rows = form.denseRows.size(1), line = shape_.width * k;
  at::Tensor wide = at::empty({b, rows, line}, out.options());
  int64_t row = 0;
  for (size_t l = 0; l < z.size(); ++l) {
    const auto& layer = layers_[l];
    const at::Tensor x = at::bmm(form.denseColumns[l].expand({b * layer.height, shape_.width, layer.width * side}),
                                 z[l].view({b * layer.height, layer.width * side, side * k}));
    wide.slice(1, row, row + layer.height * side)
        .view({b, layer.height, side, shape_.width, k})
        .copy_(x.view({b, layer.height, shape_.width, side, k}).transpose(2, 3));
    row += layer.height * side;
  }
  at::Tensor lines = out.view({b, shape_.height, line});
  at::bmm_out(lines, form.denseRows.expand({b, shape_.height, rows}), wide);
}

std::vector<at::Tensor> LowResolutionGeometry::upscaleAdjoint(const Form& form, int64_t side,
                                                              const at::Tensor& gradient, at::ScalarType type) const {
  const int64_t b = gradient.size(0), k = gradient.size(3), line = shape_.width * k;
  std::vector<at::Tensor> out;
  for (const auto& layer : layers_)
    out.push_back(at::empty({b, layer.height, layer.width, side * side * k},
                            gradient.options().dtype(runsOnHost(gradient) ? type : at::kFloat)));
  if (runsOnHost(gradient)) {
    form.rows.adjoint(gradient.contiguous(), out);
    return out;
  }
  const at::Tensor wide = at::bmm(form.denseRows.t().expand({b, form.denseRows.size(1), shape_.height}),
                                  gradient.reshape({b, shape_.height, line}));
  int64_t row = 0;
  for (size_t l = 0; l < layers_.size(); ++l) {
    const auto& layer = layers_[l];
    const at::Tensor part =
        wide.slice(1, row, row + layer.height * side).view({b, layer.height, side, shape_.width, k}).transpose(2, 3);
    at::Tensor lines = out[l].view({b * layer.height, layer.width * side, side * k});
    at::bmm_out(lines, form.denseColumns[l].t().expand({b * layer.height, layer.width * side, shape_.width}),
                part.reshape({b * layer.height, shape_.width, side * k}));
    row += layer.height * side;
  }
  return out;
}

LowResolutionGeometry::Sparse LowResolutionGeometry::sparse(bool shifted) const {
  const Form& form = shifted ? shifted_ : plain_;
  return {shifted ? kTapSide : 1, form.denseRows.size(1), form.bandedRows, form.bandedColumns};
}

std::vector<at::Tensor> LowResolutionGeometry::split(const at::Tensor& matrix) const {
  std::vector<at::Tensor> out;
  int64_t column = 0;
  for (const auto& layer : layers_) {
    out.push_back(matrix.slice(1, column, column + layer.channels));
    column += layer.channels;
  }
  return out;
}

at::Tensor tapMajor(const at::Tensor& weight) {
  return weight.permute({3, 2, 0, 1}).reshape({kTaps * weight.size(0), weight.size(1)});
}

at::Tensor fromTapMajor(const at::Tensor& matrix, int64_t outputs) {
  return matrix.view({kTapSide, kTapSide, outputs, matrix.size(1)}).permute({2, 3, 1, 0}).contiguous();
}

}  // namespace ssn

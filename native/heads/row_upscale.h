// Upscaling and pooling on the CPU, output row by output row: a row is combined from its neighbours in the small maps,
// first down, then across. Both matrices are banded, so each value is a sum of a few terms, in registers, 128 channels
// at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "backbone/resnet.h"

namespace ssn {

// Weighted terms of each output: offset[i], weight[i] for i in [begin[o], begin[o + 1]).
struct Terms {
  std::vector<int64_t> begin{0}, offset;
  std::vector<float> weight;

  int64_t count(int64_t output) const { return begin[output + 1] - begin[output]; }
  const int64_t* offsets(int64_t output) const { return offset.data() + begin[output]; }
  const float* weights(int64_t output) const { return weight.data() + begin[output]; }
};

// out[y, x, k] = sum_l sum_(h, dy) sum_(w, dx) rows[l][y, (h, dy)] columns[l][x, (w, dx)] z_l[h, w, dx, dy, k], with dx
// and dy of `side` values each.
class RowUpscale {
 public:
  RowUpscale() = default;
  // rows[l]: H x (h_l side), columns[l]: W x (w_l side), float32, on the CPU. channels: a multiple of 128.
  RowUpscale(const std::vector<LayerShape>& layers, const std::vector<at::Tensor>& rows,
             const std::vector<at::Tensor>& columns, int64_t side, int64_t channels);

  // z[l]: b x h_l x w_l x (side side K), float32 or bfloat16 -> out: b x H x W x K, float32; both contiguous.
  void forward(const std::vector<at::Tensor>& z, at::Tensor out) const;
  // The transpose: b x H x W x K, float32 -> into out[l], shaped as z[l], float32 or bfloat16.
  void adjoint(const at::Tensor& gradient, const std::vector<at::Tensor>& out) const;

  // For what wants a row at a time. down() makes row y of the first image, not yet upscaled across: rowFloats() floats,
  // in which across() gives the terms of each x (the first of K channels). z: float32 or bfloat16.
  void down(const std::vector<at::Tensor>& z, int64_t y, float* row) const;
  const Terms& across() const { return across_; }
  int64_t rowFloats() const { return rowFloats_; }
  int64_t height() const { return height_; }
  int64_t width() const { return width_; }

 private:
  template <class T>
  void downRows(const std::vector<const T*>& z, int64_t first, int64_t count, float* rows) const;
  template <class T>
  void forwardImages(const std::vector<at::Tensor>& z, at::Tensor out) const;
  template <class T>
  void adjointImages(const at::Tensor& gradient, const std::vector<at::Tensor>& out) const;

  struct Layer {
    int64_t height, width;
    Terms down;        // of each y: offsets into z_l, of (h, dy) at w = dx = 0
    Terms acrossBack;  // of each (w, dx): x K
    Terms downBack;    // of each (h, dy): y
    int64_t floats(int64_t side, int64_t channels) const { return height * width * side * side * channels; }
  };
  std::vector<Layer> layers_;
  Terms across_;
  int64_t side_ = 0, channels_ = 0, height_ = 0, width_ = 0, rowFloats_ = 0;
};

}  // namespace ssn

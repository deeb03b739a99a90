// Where the samples of a duplicated batch have noise: the active positions. All other positions are the same in both
// copies, so the batch is b HW shared rows, then one row for each active position, sample by sample
// (heads/segmentation_rows.h).
//
// On the CPU there are as many rows as positions. On a GPU the host would have to wait to know their number,
// so the caller gives a capacity, and rows beyond the positions stand for none: their cell is -1.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace ssn {

class ActivePositions {
 public:
  // noiseMask: 2 images x HW of 0/1. capacity: not read on the CPU.
  ActivePositions(const at::Tensor& noiseMask, int64_t images, int64_t height, int64_t width, int64_t capacity);

  int64_t rows() const { return cells_.numel(); }
  const at::Tensor& cells() const { return cells_; }  // rows(), int64: index into 2 images x HW
  // Number of the active position of each cell of 2 images x HW, int32; -1: none.
  const at::Tensor& active() const { return active_; }
  at::Tensor count() const;  // how many positions there are: an int32 where the mask is

  // How many cells of the duplicated batch each row stands for, shared rows first.
  at::Tensor multiplicity() const;
  // A value for each row <-> a value for each cell (2 images x HW); the second is the transpose.
  at::Tensor toCells(const at::Tensor& rows) const;
  at::Tensor toRows(const at::Tensor& cells) const;
  // noisy[p] += base[its cell's row], and its transpose. base: b HW x K, noisy: rows() x K.
  void addShared(at::Tensor noisy, const at::Tensor& base) const;
  void addToShared(at::Tensor base, const at::Tensor& noisy) const;

  // The 5x5 convolution of something that is zero but at the active positions is one dense product whose 25 K columns
  // (taps in the order dx, dy) are added to the shifted positions. In pieces of rows, of about `floats` numbers in all:
  // body(from, to).
  void inPieces(int64_t floatsPerRow, int64_t floats, const std::function<void(int64_t from, int64_t to)>& body) const;
  // planes[y - (dy - 2), x - (dx - 2)] += products[p, dx, dy] for every active (y, x) of a piece. planes: 2 images x H
  // x W x K.
  void addTaps(at::Tensor planes, const at::Tensor& products, int64_t from, int64_t to) const;
  // The transpose: what the planes' gradient gives the products of a piece.
  at::Tensor gatherTaps(const at::Tensor& planes, int64_t from, int64_t to) const;

 private:
  int64_t images_, height_, width_;
  at::Tensor cells_;
  // On the CPU: where each sample's rows begin, and their positions within it.
  std::vector<int64_t> begin_;
  std::vector<at::Tensor> positions_;
  at::Tensor mask_, shared_;  // shared_: row of the base for each active position
  at::Tensor active_;
  at::Tensor running_;  // off the CPU, per cell: active positions up to and with this cell

  int64_t sharedRows() const { return images_ * height_ * width_; }
};

}  // namespace ssn

#include "training/active_positions.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <cstring>

#include "cancel.h"
#include "heads/parameters.h"
#include "heads/segmentation_rows.h"
#include "runs_on_host.h"
#include "kernels/run.h"
#include "kernels/training.h"
#include "parallel.h"
#include "platform.h"

namespace ssn {

ActivePositions::ActivePositions(const at::Tensor& noiseMask, int64_t images, int64_t height, int64_t width,
                                 int64_t capacity)
    : images_(images), height_(height), width_(width), mask_(noiseMask) {
  const int64_t plane = height * width;
  if (!runsOnHost(noiseMask)) {
    const auto options = noiseMask.options().dtype(at::kInt);
    running_ = at::cumsum(noiseMask.reshape(-1), 0, at::kInt);
    active_ = at::empty({noiseMask.numel()}, options);
    cells_ = at::full({capacity}, -1, options.dtype(at::kLong));
    forEach(noiseMask.device(), noiseMask.numel(),
            kernels::NumberActive{noiseMask.data_ptr<float>(), running_.data_ptr<int32_t>(), capacity,
                                  active_.data_ptr<int32_t>(), cells_.data_ptr<int64_t>()});
    return;
  }
  cells_ = noiseMask.reshape(-1).nonzero().squeeze(1);
  const int64_t* cells = cells_.data_ptr<int64_t>();
  active_ = at::full({noiseMask.numel()}, -1, at::kInt);
  int32_t* active = active_.data_ptr<int32_t>();
  for (int64_t p = 0; p < cells_.numel(); ++p) active[cells[p]] = static_cast<int32_t>(p);
  for (int64_t s = 0; s <= 2 * images; ++s)
    begin_.push_back(std::lower_bound(cells, cells + cells_.numel(), s * plane) - cells);
  for (int64_t s = 0; s < 2 * images; ++s)
    positions_.push_back((cells_.slice(0, begin_[s], begin_[s + 1]) - s * plane).to(at::kInt));
  shared_ = cells_.remainder(std::max<int64_t>(1, sharedRows()));
}

at::Tensor ActivePositions::count() const {
  if (runsOnHost(cells_)) return at::full({}, rows(), at::kInt);
  return running_.numel() > 0 ? running_[running_.numel() - 1] : at::full({}, 0, running_.options());
}

at::Tensor ActivePositions::multiplicity() const {
  const int64_t b = images_, shared = sharedRows();
  if (runsOnHost(cells_)) {
    const at::Tensor clean = 2.0 - mask_.slice(0, 0, b) - mask_.slice(0, b, 2 * b);
    return at::cat({clean.reshape(-1), at::ones({rows()}, clean.options())}, 0);
  }
  const at::Tensor out = at::empty({shared + rows()}, mask_.options());
  forEach(
      out.device(), out.numel(),
      kernels::Multiplicity{active_.data_ptr<int32_t>(), cells_.data_ptr<int64_t>(), shared, out.data_ptr<float>()});
  return out;
}

at::Tensor ActivePositions::toCells(const at::Tensor& rows) const {
  const int64_t shared = sharedRows();
  if (runsOnHost(rows)) {
    const at::Tensor base = rows.slice(0, 0, shared);
    return at::cat({base, base}, 0).index_copy_(0, cells_, rows.slice(0, shared)).view_as(mask_);
  }
  at::Tensor out = at::empty_like(mask_);
  forEach(out.device(), out.numel(),
          kernels::RowsToCells{rows.data_ptr<float>(), active_.data_ptr<int32_t>(), shared, out.data_ptr<float>()});
  return out;
}

at::Tensor ActivePositions::toRows(const at::Tensor& cells) const {
  const int64_t b = images_, shared = sharedRows();
  if (runsOnHost(cells)) {
    const at::Tensor clean = cells * (1.0 - mask_);
    return at::cat(
        {(clean.slice(0, 0, b) + clean.slice(0, b, 2 * b)).view({-1}), at::index_select(cells.reshape(-1), 0, cells_)},
        0);
  }
  const at::Tensor dense = cells.contiguous(), out = at::empty({shared + rows()}, cells.options());
  forEach(out.device(), out.numel(),
          kernels::CellsToRows{dense.data_ptr<float>(), active_.data_ptr<int32_t>(), cells_.data_ptr<int64_t>(), shared,
                               out.data_ptr<float>()});
  return out;
}

void ActivePositions::addShared(at::Tensor noisy, const at::Tensor& base) const {
  if (runsOnHost(noisy)) {
    noisy.add_(at::index_select(base, 0, shared_));
    return;
  }
  const int64_t k = noisy.size(1);
  forEach(
      noisy.device(), rows() * (k / 4),
      kernels::AddShared{noisy.data_ptr<float>(), base.data_ptr<float>(), cells_.data_ptr<int64_t>(), sharedRows(), k});
}

void ActivePositions::addToShared(at::Tensor base, const at::Tensor& noisy) const {
  if (runsOnHost(base)) {
    // One copy of the batch after the other: within one no position comes twice.
    for (const int64_t copy : {int64_t{0}, images_}) {
      const int64_t from = begin_[copy], to = begin_[copy + images_];
      addRows(base, noisy.slice(0, from, to), shared_.slice(0, from, to));
    }
    return;
  }
  const int64_t k = base.size(1);
  forEach(base.device(), sharedRows() * (k / 4),
          kernels::AddToShared{base.data_ptr<float>(), noisy.data_ptr<float>(), active_.data_ptr<int32_t>(),
                               sharedRows(), k});
}

void ActivePositions::inPieces(int64_t floatsPerRow, int64_t floats,
                               const std::function<void(int64_t from, int64_t to)>& body) const {
  const int64_t most = std::max<int64_t>(1, floats / floatsPerRow);
  if (!runsOnHost(cells_)) {
    const int64_t whole = std::max<int64_t>(8, most / 8 * 8);  // as tensor cores want them
    for (int64_t from = 0; from < rows(); from += whole) body(from, std::min(rows(), from + whole));
    return;
  }
  // Whole samples, so that threads can share them.
  for (int64_t s = 0; s < 2 * images_;) {
    const int64_t from = begin_[s++];
    while (s < 2 * images_ && begin_[s + 1] - from <= most) ++s;
    throwIfCancelled();
    if (begin_[s] > from) body(from, begin_[s]);
  }
}

namespace {

constexpr int64_t kReach = kTapSide / 2;

SSN_VECTORISED void add(float* __restrict to, const float* __restrict from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

// Calls body(p, tap, row of the plane) for every product whose target lies inside, in a fixed order.
template <class Body>
void forEachTap(int64_t height, int64_t width, const at::Tensor& positions, int64_t begin, int64_t end, Body&& body) {
  const int32_t* position = positions.data_ptr<int32_t>();
  for (int64_t p = begin; p < end; ++p) {
    const int64_t y = position[p] / width, x = position[p] % width;
    for (int64_t dx = 0; dx < kTapSide; ++dx)
      for (int64_t dy = 0; dy < kTapSide; ++dy) {
        const int64_t toY = y - (dy - kReach), toX = x - (dx - kReach);
        const bool inside = toY >= 0 && toY < height && toX >= 0 && toX < width;
        body(p, dx * kTapSide + dy, inside ? toY * width + toX : -1);
      }
  }
}

// plane: H x W x K, one sample; products: P x (25 K), taps in the order dx, dy; positions: P int32, ascending.
// plane[y - (dy - 2), x - (dx - 2)] += products[p, dx, dy] for every active (y, x).
void addNoiseTaps(at::Tensor plane, const at::Tensor& products, const at::Tensor& positions) {
  const int64_t height = plane.size(0), width = plane.size(1), k = plane.size(2), count = positions.numel();
  if (count == 0) return;
  float* out = plane.data_ptr<float>();
  const float* in = products.data_ptr<float>();
  // Threads share the channels, so that two positions never write to the same place at once.
  constexpr int64_t kBlock = 32;
  at::parallel_for(0, (k + kBlock - 1) / kBlock, 1, [&](int64_t begin, int64_t end) {
    const int64_t from = begin * kBlock, n = std::min(k, end * kBlock) - from;
    forEachTap(height, width, positions, 0, count, [&](int64_t p, int64_t tap, int64_t row) {
      if (row >= 0) add(out + row * k + from, in + (p * kTaps + tap) * k + from, n);
    });
  });
}

// The transpose: what the plane's gradient gives the products.
void gatherNoiseTaps(const at::Tensor& plane, const at::Tensor& positions, at::Tensor products) {
  const int64_t height = plane.size(0), width = plane.size(1), k = plane.size(2), count = positions.numel();
  if (count == 0) return;
  float* to = products.data_ptr<float>();
  const float* from = plane.data_ptr<float>();
  at::parallel_for(0, count, 16, [&](int64_t begin, int64_t end) {
    forEachTap(height, width, positions, begin, end, [&](int64_t p, int64_t tap, int64_t row) {
      float* cell = to + (p * kTaps + tap) * k;
      if (row >= 0) {
        std::memcpy(cell, from + row * k, k * sizeof(float));
      } else {
        std::memset(cell, 0, k * sizeof(float));
      }
    });
  });
}

// Calls body(sample, from, to) for the samples of rows from .. to - 1, which have all of their rows there.
template <class Body>
void forSamples(const std::vector<int64_t>& begin, int64_t from, int64_t to, Body&& body) {
  const int64_t first = std::lower_bound(begin.begin(), begin.end(), from) - begin.begin(),
                last = std::lower_bound(begin.begin(), begin.end(), to) - begin.begin();
  forEachShared(last - first,
                [&](int64_t i) { body(first + i, begin[first + i] - from, begin[first + i + 1] - from); });
}

}  // namespace

void ActivePositions::addTaps(at::Tensor planes, const at::Tensor& products, int64_t from, int64_t to) const {
  if (runsOnHost(planes)) {
    forSamples(begin_, from, to, [&](int64_t s, int64_t begin, int64_t end) {
      addNoiseTaps(planes[s], products.slice(0, begin, end), positions_[s]);
    });
    return;
  }
  const int64_t k = planes.size(3);
  forEach(planes.device(), planes.numel() / 4,
          kernels::AddNoiseTaps{planes.data_ptr<float>(), products.data_ptr<float>(), active_.data_ptr<int32_t>(),
                                running_.data_ptr<int32_t>(), from, to, height_, width_, k});
}

at::Tensor ActivePositions::gatherTaps(const at::Tensor& planes, int64_t from, int64_t to) const {
  const int64_t k = planes.size(3);
  at::Tensor products = at::empty({to - from, kTaps * k}, planes.options());
  if (runsOnHost(planes)) {
    forSamples(begin_, from, to, [&](int64_t s, int64_t begin, int64_t end) {
      gatherNoiseTaps(planes[s], positions_[s], products.slice(0, begin, end));
    });
    return products;
  }
  forEach(planes.device(), (to - from) * kTaps * (k / 4),
          kernels::GatherNoiseTaps{planes.data_ptr<float>(), cells_.slice(0, from, to).data_ptr<int64_t>(), height_,
                                   width_, k, products.data_ptr<float>()});
  return products;
}

}  // namespace ssn

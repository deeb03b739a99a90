#include "training/device_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>

#include "anomalies/latent_noise.h"
#include "heads/parameters.h"
#include "recent.h"
#ifdef SSN_CUDA
#include "cuda/graph.h"
#endif

namespace ssn {

#ifdef SSN_CUDA
// The graphs share their memory: between two steps nothing in it is needed.
struct DeviceStep::Repeated {
  using Sizes = std::array<int64_t, 4>;  // images, capacity, first streams of both copies
  Repeated(at::Device device, int64_t limit) : stream(device), memory(stream.device()), graphs(limit) {}
  cuda::Stream stream;
  cuda::GraphMemory memory;
  Recent<Sizes, cuda::Graph> graphs;
};

struct DeviceStep::Use::Guard {
  cuda::Stream::Use stream;
};
#else
struct DeviceStep::Repeated {};
struct DeviceStep::Use::Guard {};
#endif

DeviceStep::Use::Use(const DeviceStep* step) {
#ifdef SSN_CUDA
  if (step != nullptr && step->repeated_) guard_.reset(new Guard{cuda::Stream::Use(step->repeated_->stream)});
#endif
}
DeviceStep::Use::~Use() = default;

DeviceStep::DeviceStep(const std::vector<TapShape>& taps, const AnomalyMaskOptions& anomalies, bool overlap,
                       bool lowResolution, at::Device device, int64_t graphs)
    : shapes_(taps), anomalies_(anomalies), overlap_(overlap), lowResolution_(lowResolution), device_(device) {
#ifdef SSN_CUDA
  if (device.is_cuda()) repeated_ = std::make_unique<Repeated>(device, graphs);
#endif
  const Use use(this);
  const auto doubles = at::TensorOptions().device(device).dtype(at::kDouble);
  rates_ = at::zeros({6}, doubles);
  values_ = at::zeros({kStepValues}, doubles);
}

DeviceStep::~DeviceStep() = default;

namespace {

// For the host to fill; page-locked, so that copying it need not be waited for.
at::Tensor hostTensor(at::IntArrayRef shape, at::ScalarType type, at::Device device) {
  return at::empty(shape, at::TensorOptions().dtype(type).pinned_memory(device.is_cuda()));
}

}  // namespace

void DeviceStep::prepareImages(const Images& images) {
  if (!stale_) return;
  rows_.clear();
  weighted_ = false;
  for (const auto& [key, image] : images) {
    if (image.mask.defined()) rows_.emplace(key, static_cast<int64_t>(rows_.size()) + 1);
    weighted_ |= image.weight.defined();
  }
  at::Tensor masks =
      at::zeros({static_cast<int64_t>(rows_.size()) + 1, anomalies_.height * anomalies_.width}, at::kByte);
  for (const auto& [key, row] : rows_) masks[row].copy_(images.at(key).mask.view({-1}));
  settle();
  if (weights_.defined()) weights_.fill_(1);
  masks_ = masks.to(device_);
  planned_.clear();
  stale_ = false;
}

std::vector<int64_t> DeviceStep::rowsOf(const std::vector<int64_t>& keys) const {
  std::vector<int64_t> out;
  for (const int64_t key : keys) {
    const auto found = rows_.find(key);
    out.push_back(found == rows_.end() ? 0 : found->second);
  }
  return out;
}

std::vector<int64_t> DeviceStep::countPositions(const std::vector<Plan>& steps) const {
  std::vector<StepStreams> streams;
  std::vector<int64_t> rows;
  for (const Plan& step : steps) {
    streams.push_back(step.streams);
    const std::vector<int64_t> own = rowsOf(step.keys);
    rows.insert(rows.end(), own.begin(), own.end());
  }
  return anomalyCounts(anomalies_, streams, rows, overlap_ ? at::Tensor() : masks_, device_);
}

int64_t DeviceStep::capacityOf(int64_t positions, int64_t images) const {
  return capacityFor(positions, 2 * images * anomalies_.height * anomalies_.width);
}

void DeviceStep::plan(const std::vector<Plan>& steps, const Images& images) {
  prepareImages(images);
  planned_.clear();
  const std::vector<int64_t> counts = countPositions(steps);
  int64_t most = 0, capacity = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    planned_[steps[i].streams.step] = {steps[i], counts[i]};
    most = std::max(most, steps[i].streams.images);
    capacity = std::max(capacity, capacityOf(counts[i], steps[i].streams.images));
  }
  if (!steps.empty()) reserve(most, capacity);
}

// Room for so many images and rows, at addresses that stay: what is larger than ever moves everything and ends the
// graphs.
void DeviceStep::reserve(int64_t images, int64_t capacity) {
  const int64_t plane = anomalies_.height * anomalies_.width;
  int64_t channels = 0;
  for (const TapShape& shape : shapes_) channels += shape.channels;
  const auto floats = at::TensorOptions().device(device_).dtype(at::kFloat);
  if (images > reserved_ || taps_.empty()) {
    settle();
    reserved_ = images;
    taps_.clear();
    for (const TapShape& shape : shapes_)
      taps_.push_back(at::empty({reserved_, shape.height, shape.width, shape.channels}, floats));
    integers_ = at::zeros({1 + reserved_}, floats.dtype(at::kLong));
    numbers_ = at::zeros({2 * reserved_}, floats);
    weights_ = at::ones({reserved_, plane}, floats);
    rowSpace_ = noiseSpace_ = at::Tensor();
  }
  if (!noiseSpace_.defined() || capacity > noiseSpace_.size(0)) {
    settle();
    rowSpace_ = noiseSpace_ = at::Tensor();
    // A tenth more, so that the next epoch's largest step has room too.
    const int64_t rows = capacityOf(std::min(capacity + capacity / 10, 2 * reserved_ * plane), reserved_);
    if (lowResolution_) rowSpace_ = at::empty({reserved_ * plane + rows, kSegmentationHidden}, floats);
    noiseSpace_ = at::empty({rows, channels}, floats);
  }
}

void DeviceStep::begin(const Plan& step, const Images& images, const std::vector<std::vector<at::Tensor>>& taps) {
  prepareImages(images);
  step.streams.check();
  images_ = static_cast<int64_t>(step.keys.size());
  const auto planned = planned_.find(step.streams.step);
  positions_ =
      planned != planned_.end() && planned->second.step == step ? planned->second.positions : countPositions({step})[0];
  capacity_ = capacityOf(positions_, images_);
  reserve(images_, capacity_);
  streams_ = step.streams;
  streams_.step = 0;  // what counts is in the device's memory: a graph repeats this for other steps
  const at::Tensor integers = hostTensor({1 + images_}, at::kLong, device_),
                   numbers = hostTensor({2 * reserved_}, at::kFloat, device_);
  const std::vector<int64_t> rows = rowsOf(step.keys);
  integers.data_ptr<int64_t>()[0] = step.streams.step;
  std::copy(rows.begin(), rows.end(), integers.data_ptr<int64_t>() + 1);
  numbers.fill_(0);
  const int64_t plane = anomalies_.height * anomalies_.width;
  at::Tensor weights;
  if (weighted_) weights = hostTensor({images_, plane}, at::kFloat, device_).fill_(1);
  for (int64_t i = 0; i < images_; ++i) {
    const TrainingImage& image = images.at(step.keys[static_cast<size_t>(i)]);
    numbers.data_ptr<float>()[i] = static_cast<float>(image.label);
    numbers.data_ptr<float>()[reserved_ + i] = static_cast<float>(image.segmented);
    if (image.weight.defined()) weights[i].copy_(image.weight.view({-1}));
    for (size_t l = 0; l < shapes_.size(); ++l)
      taps_[l][i].copy_(taps[static_cast<size_t>(i)][l][0].permute({1, 2, 0}), /*non_blocking=*/true);
  }
  integers_.slice(0, 0, 1 + images_).copy_(integers, /*non_blocking=*/true);
  numbers_.copy_(numbers, /*non_blocking=*/true);
  if (weighted_) weights_.slice(0, 0, images_).copy_(weights, /*non_blocking=*/true);
}

void DeviceStep::setRates(const AdamWRates& adaptor, const AdamWRates& heads) {
  const at::Tensor rates = hostTensor({6}, at::kDouble, device_);
  double* to = rates.data_ptr<double>();
  for (const AdamWRates& group : {adaptor, heads})
    for (const double value : {group.decay, group.stepSize, group.root}) *to++ = value;
  rates_.copy_(rates, /*non_blocking=*/true);
}

StepInput DeviceStep::input(const at::Tensor& noiseStd) const {
  const int64_t b = images_, h = anomalies_.height, w = anomalies_.width;
  StepInput input;
  for (const at::Tensor& taps : taps_) input.taps.push_back(taps.slice(0, 0, b).permute({0, 3, 1, 2}));
  const at::Tensor rows = integers_.slice(0, 1, 1 + b);
  input.mask = at::index_select(masks_, 0, rows).view({b, 1, h, w}).to(at::kFloat);
  input.weight = weights_.slice(0, 0, b).view({b, 1, h, w});
  input.label = numbers_.slice(0, 0, b);
  input.segmented = numbers_.slice(0, reserved_, reserved_ + b);
  StepStreams streams = streams_;
  streams.stepOnDevice = integers_.slice(0, 0, 1);
  input.perlinMask = anomalyMasks(anomalies_, streams, device_);
  input.noise = [streams, noiseStd, plane = h * w, space = noiseSpace_](const at::Tensor& cells) {
    TORCH_INTERNAL_ASSERT(cells.numel() <= space.size(0));
    const at::Tensor out = space.slice(0, 0, cells.numel());
    latentNoise(streams, plane, cells, noiseStd, out);
    return out;
  };
  input.capacity = capacity_;
  input.rowSpace = rowSpace_;
  return input;
}

const at::Tensor& DeviceStep::run(bool repeatable, const std::function<at::Tensor()>& work) {
  const auto whole = [&] { values_.copy_(work()); };
#ifdef SSN_CUDA
  if (repeatable && repeated_ && repeated_->graphs.limit() > 0) {
    repeated_->graphs[{images_, capacity_, streams_.first, streams_.second}].run(repeated_->stream, repeated_->memory,
                                                                                 whole);
    return values_;
  }
#endif
  whole();
  return values_;
}

void DeviceStep::settle() {
#ifdef SSN_CUDA
  if (!repeated_) return;
  repeated_->stream.synchronize();
  repeated_->graphs.clear();
#endif
}

}  // namespace ssn

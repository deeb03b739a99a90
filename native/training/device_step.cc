#include "training/device_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <array>

#include "anomalies/latent_noise.h"
#include "error.h"
#include "recent.h"
#ifdef SSN_CUDA
#include "cuda/graph.h"
#endif

namespace ssn {

#ifdef SSN_CUDA
// The graphs share their memory: between two steps nothing in it is needed.
struct DeviceStep::Repeated {
  using Sizes = std::array<int64_t, 2>;  // images, capacity
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

DeviceStep::DeviceStep(const std::vector<TapShape>& taps, const AnomalyMaskOptions& anomalies, bool overlap, at::Device device, int64_t graphs)
    : shapes_(taps), anomalies_(anomalies), overlap_(overlap), device_(device) {
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
at::Tensor hostTensor(at::IntArrayRef shape, at::ScalarType type, at::Device device) { return at::empty(shape, at::TensorOptions().dtype(type).pinned_memory(device.is_cuda())); }

}  // namespace

void DeviceStep::prepareImages(const Images& images) {
  if (!stale_) return;
  rows_.clear();
  for (const auto& [key, image] : images)
    if (image.mask.defined() || image.weight.defined()) rows_.emplace(key, static_cast<int64_t>(rows_.size()) + 1);
  const int64_t rows = static_cast<int64_t>(rows_.size()) + 1;
  at::Tensor masks = at::empty({rows, anomalies_.height * anomalies_.width}), weights = at::empty_like(masks);
  masks[0].fill_(0);
  weights[0].fill_(1);
  for (const auto& [key, row] : rows_) {
    const TrainingImage& image = images.at(key);
    image.mask.defined() ? masks[row].copy_(image.mask.view({-1})) : masks[row].fill_(0);
    image.weight.defined() ? weights[row].copy_(image.weight.view({-1})) : weights[row].fill_(1);
  }
  settle();
  masks_ = masks.to(device_);
  weights_ = weights.to(device_);
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

void DeviceStep::plan(const std::vector<Plan>& steps, const Images& images) {
  prepareImages(images);
  planned_.clear();
  std::vector<PlannedStep> ahead;
  for (const Plan& step : steps) ahead.push_back({step.streams, rowsOf(step.keys)});
  const std::vector<int64_t> counts = anomalyCounts(anomalies_, ahead, overlap_ ? at::Tensor() : masks_, device_);
  for (size_t i = 0; i < steps.size(); ++i) planned_[steps[i].streams.step] = capacityFor(counts[i], 2 * static_cast<int64_t>(steps[i].keys.size()) * anomalies_.height * anomalies_.width);
}

void DeviceStep::begin(const Plan& step, const Images& images, const std::vector<std::vector<at::Tensor>>& taps) {
  if (stale_ || !planned_.contains(step.streams.step)) plan({step}, images);
  capacity_ = planned_.at(step.streams.step);
  images_ = static_cast<int64_t>(step.keys.size());
  streams_ = step.streams;
  streams_.last(Purpose::latentNoise);
  streams_.step = 0;  // what counts is in the device's memory: a graph repeats this for other steps
  const auto there = at::TensorOptions().device(device_);
  if (images_ > reserved_ || taps_.empty()) {
    settle();
    reserved_ = images_;
    taps_.clear();
    for (const TapShape& shape : shapes_) taps_.push_back(at::empty({reserved_, shape.height, shape.width, shape.channels}, there.dtype(at::kFloat)));
    integers_ = at::zeros({1 + reserved_}, there.dtype(at::kLong));
    numbers_ = at::zeros({2 * reserved_}, there.dtype(at::kFloat));
  }
  const at::Tensor integers = hostTensor({1 + images_}, at::kLong, device_), numbers = hostTensor({2 * reserved_}, at::kFloat, device_);
  const std::vector<int64_t> rows = rowsOf(step.keys);
  integers.data_ptr<int64_t>()[0] = step.streams.step;
  std::copy(rows.begin(), rows.end(), integers.data_ptr<int64_t>() + 1);
  numbers.fill_(0);
  for (int64_t i = 0; i < images_; ++i) {
    const TrainingImage& image = images.at(step.keys[static_cast<size_t>(i)]);
    numbers.data_ptr<float>()[i] = static_cast<float>(image.label);
    numbers.data_ptr<float>()[reserved_ + i] = static_cast<float>(image.segmented);
    for (size_t l = 0; l < shapes_.size(); ++l) taps_[l][i].copy_(taps[static_cast<size_t>(i)][l][0].permute({1, 2, 0}), /*non_blocking=*/true);
  }
  integers_.slice(0, 0, 1 + images_).copy_(integers, /*non_blocking=*/true);
  numbers_.copy_(numbers, /*non_blocking=*/true);
}

void DeviceStep::setRates(const AdamWRates& adaptor, const AdamWRates& heads) {
  const at::Tensor rates = hostTensor({6}, at::kDouble, device_);
  double* to = rates.data_ptr<double>();
  for (const AdamWRates& group : {adaptor, heads})
    for (const double value : {group.decay, group.stepSize, group.inverseRoot}) *to++ = value;
  rates_.copy_(rates, /*non_blocking=*/true);
}

StepInput DeviceStep::input(const at::Tensor& noiseStd) const {
  const int64_t b = images_, h = anomalies_.height, w = anomalies_.width;
  StepInput input;
  for (const at::Tensor& taps : taps_) input.taps.push_back(taps.slice(0, 0, b).permute({0, 3, 1, 2}));
  const at::Tensor rows = integers_.slice(0, 1, 1 + b);
  input.mask = at::index_select(masks_, 0, rows).view({b, 1, h, w});
  input.weight = at::index_select(weights_, 0, rows).view({b, 1, h, w});
  input.label = numbers_.slice(0, 0, b);
  input.segmented = numbers_.slice(0, reserved_, reserved_ + b);
  StepStreams streams = streams_;
  streams.stepOnDevice = integers_.slice(0, 0, 1);
  input.perlinMask = anomalyMasks(anomalies_, streams, device_);
  input.noise = [streams, noiseStd, plane = h * w](const at::Tensor& cells) { return latentNoise(streams, plane, cells, noiseStd.numel(), noiseStd); };
  input.capacity = capacity_;
  return input;
}

const at::Tensor& DeviceStep::run(bool repeatable, const std::function<at::Tensor()>& work) {
  const auto whole = [&] { values_.copy_(work()); };
#ifdef SSN_CUDA
  if (repeatable && repeated_ && repeated_->graphs.limit() > 0) {
    repeated_->graphs[{images_, capacity_}].run(repeated_->stream, repeated_->memory, whole);
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

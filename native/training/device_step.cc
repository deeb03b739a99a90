#include "training/device_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>

#include "anomalies/latent_noise.h"
#include "cancel.h"
#include "heads/parameters.h"
#include "lru_cache.h"
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
  LruCache<Sizes, cuda::Graph> graphs;
};

struct DeviceStep::StreamUse final : StepRunner::Use {
  explicit StreamUse(const cuda::Stream& of) : stream(of) {}
  cuda::Stream::Use stream;
};
#else
struct DeviceStep::Repeated {};
#endif

std::unique_ptr<StepRunner::Use> DeviceStep::use() const {
#ifdef SSN_CUDA
  if (repeated_) return std::make_unique<StreamUse>(repeated_->stream);
#endif
  return nullptr;
}

DeviceStep::DeviceStep(const Config& config) : config_(config) {
#ifdef SSN_CUDA
  if (config.device.is_cuda()) repeated_ = std::make_unique<Repeated>(config.device, config.graphs);
#endif
  const auto use = this->use();
  const auto doubles = at::TensorOptions().device(config.device).dtype(at::kDouble);
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
  at::Tensor masks = at::zeros(
      {static_cast<int64_t>(rows_.size()) + 1, config_.anomalies.height * config_.anomalies.width}, at::kByte);
  for (const auto& [key, row] : rows_) masks[row].copy_(images.at(key).mask.view({-1}));
  settle();
  if (weights_.defined()) weights_.fill_(1);
  masks_ = masks.to(config_.device);
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

std::vector<int64_t> DeviceStep::countPositions(const std::vector<Step>& steps) const {
  std::vector<StepStreams> streams;
  std::vector<int64_t> rows;
  for (const Step& step : steps) {
    streams.push_back(step.streams);
    const std::vector<int64_t> own = rowsOf(step.keys);
    rows.insert(rows.end(), own.begin(), own.end());
  }
  return anomalyCounts(config_.anomalies, streams, rows, config_.overlap ? at::Tensor() : masks_, config_.device);
}

int64_t DeviceStep::capacityOf(int64_t positions, int64_t images) const {
  return capacityFor(positions, 2 * images * config_.anomalies.height * config_.anomalies.width);
}

void DeviceStep::plan(const std::vector<Step>& steps, const Images& images) {
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
  const int64_t plane = config_.anomalies.height * config_.anomalies.width;
  int64_t channels = 0;
  for (const LayerShape& shape : config_.layers) channels += shape.channels;
  const auto floats = at::TensorOptions().device(config_.device).dtype(at::kFloat);
  if (images > reserved_ || layerMaps_.empty()) {
    settle();
    reserved_ = images;
    layerMaps_.clear();
    for (const LayerShape& shape : config_.layers)
      layerMaps_.push_back(at::empty({reserved_, shape.height, shape.width, shape.channels}, floats));
    integers_ = at::zeros({1 + reserved_}, floats.dtype(at::kLong));
    numbers_ = at::zeros({1 + 2 * reserved_}, floats);
    weights_ = at::ones({reserved_, plane}, floats);
    rowSpace_ = noiseSpace_ = at::Tensor();
  }
  if (!noiseSpace_.defined() || capacity > noiseSpace_.size(0)) {
    settle();
    rowSpace_ = noiseSpace_ = at::Tensor();
    // A tenth more, so that the next epoch's largest step has room too.
    const int64_t rows = capacityOf(std::min(capacity + capacity / 10, 2 * reserved_ * plane), reserved_);
    if (config_.lowResolution) rowSpace_ = at::empty({reserved_ * plane + rows, kSegmentationHidden}, floats);
    noiseSpace_ = at::empty({rows, config_.noiseVectors > 0 ? 0 : channels}, floats);
  }
}

void DeviceStep::begin(const Step& step, const Images& images, const std::vector<std::vector<at::Tensor>>& layerMaps,
                       float noiseScale) {
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
  const at::Tensor integers = hostTensor({1 + images_}, at::kLong, config_.device),
                   numbers = hostTensor({1 + 2 * reserved_}, at::kFloat, config_.device);
  const std::vector<int64_t> rows = rowsOf(step.keys);
  integers.data_ptr<int64_t>()[0] = step.streams.step;
  std::copy(rows.begin(), rows.end(), integers.data_ptr<int64_t>() + 1);
  numbers.fill_(0);
  numbers.data_ptr<float>()[0] = noiseScale;
  const int64_t plane = config_.anomalies.height * config_.anomalies.width;
  at::Tensor weights;
  if (weighted_) weights = hostTensor({images_, plane}, at::kFloat, config_.device).fill_(1);
  for (int64_t i = 0; i < images_; ++i) {
    const TrainingImage& image = images.at(step.keys[static_cast<size_t>(i)]);
    numbers.data_ptr<float>()[1 + i] = static_cast<float>(image.label);
    numbers.data_ptr<float>()[1 + reserved_ + i] = static_cast<float>(image.segmented);
    if (image.weight.defined()) weights[i].copy_(image.weight.view({-1}));
    for (size_t l = 0; l < config_.layers.size(); ++l)
      layerMaps_[l][i].copy_(layerMaps[static_cast<size_t>(i)][l][0].permute({1, 2, 0}), /*non_blocking=*/true);
  }
  integers_.slice(0, 0, 1 + images_).copy_(integers, /*non_blocking=*/true);
  numbers_.copy_(numbers, /*non_blocking=*/true);
  if (weighted_) weights_.slice(0, 0, images_).copy_(weights, /*non_blocking=*/true);
}

void DeviceStep::prepareUpdate(const AdamWRates& adaptor, const AdamWRates& heads,
                               const std::vector<Heads::Named>& parameters, std::vector<AdamWState>& optimizer) {
  const at::Tensor rates = hostTensor({6}, at::kDouble, config_.device);
  double* to = rates.data_ptr<double>();
  for (const AdamWRates& group : {adaptor, heads})
    for (const double value : {group.decay, group.stepSize, group.root}) *to++ = value;
  rates_.copy_(rates, /*non_blocking=*/true);
  for (size_t i = 0; i < parameters.size(); ++i) ssn::begin(optimizer[i], *parameters[i].tensor);
}

void DeviceStep::update(const std::vector<Heads::Named>& parameters, const std::vector<at::Tensor>& gradients,
                        std::vector<AdamWState>& optimizer, const at::Tensor& norm, double clip) const {
  const at::Tensor adaptor = rates_.slice(0, 0, 3), heads = rates_.slice(0, 3, 6);
  for (size_t i = 0; i < parameters.size(); ++i)
    adamwStepOnDevice(*parameters[i].tensor, gradients[i], optimizer[i],
                      parameters[i].group == Heads::Named::kAdaptor ? adaptor : heads, norm, clip);
}

StepInput DeviceStep::input(const at::Tensor& noiseStd) const {
  const int64_t b = images_, h = config_.anomalies.height, w = config_.anomalies.width;
  StepInput input;
  for (const at::Tensor& layerMaps : layerMaps_)
    input.layerMaps.push_back(layerMaps.slice(0, 0, b).permute({0, 3, 1, 2}));
  const at::Tensor rows = integers_.slice(0, 1, 1 + b);
  input.mask = at::index_select(masks_, 0, rows).view({b, 1, h, w}).to(at::kFloat);
  input.weight = weights_.slice(0, 0, b).view({b, 1, h, w});
  input.label = numbers_.slice(0, 1, 1 + b);
  input.segmented = numbers_.slice(0, 1 + reserved_, 1 + reserved_ + b);
  StepStreams streams = streams_;
  streams.stepOnDevice = integers_.slice(0, 0, 1);
  input.perlinMask = anomalyMasks(config_.anomalies, streams, config_.device);
  input.noise = [streams, std = noiseStd * numbers_.slice(0, 0, 1), plane = h * w, vectors = config_.noiseVectors,
                 space = noiseSpace_](const at::Tensor& cells) {
    if (vectors > 0) return sharedNoise(streams, plane, cells, std, at::empty({vectors, std.size(0)}, space.options()));
    TORCH_INTERNAL_ASSERT(cells.numel() <= space.size(0));
    const at::Tensor out = space.slice(0, 0, cells.numel());
    latentNoise(streams, plane, cells, std, out);
    return Noise{out, {}, {}};
  };
  input.capacity = capacity_;
  input.rowSpace = rowSpace_;
  return input;
}

StepRunner::Result DeviceStep::run(const Step& step, const Images& images,
                                   const std::vector<std::vector<at::Tensor>>& layerMaps, const at::Tensor& noiseStd,
                                   float noiseScale, const Work& work) {
  begin(step, images, layerMaps, noiseScale);
  throwIfCancelled();
  const auto whole = [&] { values_.copy_(work(input(noiseStd))); };
  const Result result{values_, config_.lowResolution ? positions_ : -1};
#ifdef SSN_CUDA
  if (repeated_ && repeated_->graphs.limit() > 0) {
    repeated_->graphs[{images_, capacity_, streams_.first, streams_.second}].run(repeated_->stream, repeated_->memory,
                                                                                 whole);
    return result;
  }
#endif
  whole();
  return result;
}

void DeviceStep::settle() {
#ifdef SSN_CUDA
  if (!repeated_) return;
  repeated_->stream.synchronize();
  repeated_->graphs.clear();
#endif
}

}  // namespace ssn

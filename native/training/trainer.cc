#include "training/trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "cancel.h"
#ifdef SSN_CUDA
#include "cuda/nccl.h"
#endif
#include "features/features.h"
#include "features/input.h"
#include "heads/folded.h"
#include "tf32.h"

namespace ssn {
namespace {

// Variances beyond float32 make batch norm return zeros: the loss stays finite and the model would be useless.
void checkFinite(double loss, double gradientNorm, double statistics) {
  const char* what = !std::isfinite(loss)           ? "the loss is"
                     : !std::isfinite(gradientNorm) ? "the gradient is"
                     : !std::isfinite(statistics)   ? "the statistics of batch norm are"
                                                    : nullptr;
  if (what != nullptr) throw Error("DIVERGED", std::string(what) + " not finite.", /*path=*/"", "diverged");
}

std::unique_ptr<FeatureFile> openFeatureFile(const TrainerConfig& config) {
  if (!config.featureCacheFile) return nullptr;
  const auto& [path, bytes, identity] = *config.featureCacheFile;
  return std::make_unique<FeatureFile>(path, identity, layerShapes(config), config.featureCachePrecision, bytes);
}

}  // namespace

Trainer::Trainer(const TrainerConfig& config, const TensorMap& backbone, const TensorMap& heads,
                 std::shared_ptr<Group> group)
    : config_(config),
      group_(std::move(group)),
      backbone_(architectureNamed(config.architecture), backbone, config.layers, config.imageHeight, config.imageWidth,
                config.device, config.precision),
      shape_(featureShape(config)),
      heads_(headsFromTensors(heads, shape_.channels, config.layout, config.device)),
      geometry_(layerShapes(config), config.alignCorners, config.upscale, config.device),
      cache_(config.featureCacheBytes, config.featureCacheHostBytes, config.featureCachePrecision, config.device,
             openFeatureFile(config)),
      optimizer_(trainedParameters(heads_).size()),
      weightBytes_(backbone_.bytes() + 3 * heads_.bytes()) {  // two moments for each parameter
  if (!config.computable()) throw Error("INTERNAL", "this classification head has no low-resolution form");
#ifdef SSN_CUDA
  if (group_ && config.nccl && config.device.is_cuda()) nccl_ = cuda::NcclSum::create(*group_, config.device);
#endif
  // Ranks wait for each other within a step, and the direct heads for the positions of the noise: no graph repeats
  // that.
  runner_ =
      StepRunner::create({layerShapes(config),
                          {config.synthetic, shape_.height, shape_.width, static_cast<float>(config.perlinThreshold)},
                          config.overlap,
                          !config.direct,
                          config.device,
                          config.noiseVectors,
                          group_ || config.direct ? 0 : config.graphs});
  setNoiseStd(config.noiseStd);
}

Trainer::~Trainer() = default;

void Trainer::setNoiseStd(const at::Tensor& noiseStd) {
  const auto use = runner_->use();
  runner_->settle();
  config_.noiseStd = noiseStd.expand({shape_.channels}).contiguous().to(config_.device);
}

void Trainer::setTarget(int64_t key, TrainingImage target) {
  targets_[key] = std::move(target);
  runner_->imagesChanged();
}

void Trainer::clearTargets() {
  targets_.clear();
  runner_->imagesChanged();
}

const TrainingImage& Trainer::target(int64_t key) const {
  const auto found = targets_.find(key);
  if (found == targets_.end()) throw Error("INTERNAL", "no target for key " + std::to_string(key));
  return found->second;
}

// The streams go by the place in the whole duplicated batch: they do not depend on how it is shared.
StepStreams Trainer::streams(int64_t index, int64_t images, Share share) const {
  return {config_.seed, index, images, share.first, share.total + share.first, {}};
}

void Trainer::plan(const std::vector<Plan>& steps) {
  const auto use = runner_->use();
  std::vector<StepRunner::Step> planned;
  for (const Plan& step : steps) {
    for (const int64_t key : step.keys) target(key);
    planned.push_back({streams(step.index, static_cast<int64_t>(step.keys.size()), step.share), step.keys});
  }
  runner_->plan(planned, targets_);
}

std::vector<at::Tensor> Trainer::layerMapsOf(const StepItem& item) {
  if (auto found = cache_.find(item.key, item.content)) return *std::move(found);
  if (!item.pixels.defined())
    throw Error(config_.featureCacheFile ? "FILE_CORRUPT" : "INTERNAL",
                "no pixels for key " + std::to_string(item.key) + ", whose features are not cached, or not any more");
  throwIfCancelled();
  // One image at a time: convolution libraries choose their algorithm by batch size, and features must not depend on
  // which other images share the batch.
  std::vector<at::Tensor> layerMaps =
      backbone_.forward(normalisedImages(item.pixels.data_ptr<uint8_t>(), 1, config_.imageHeight, config_.imageWidth));
  for (at::Tensor& layerMap : layerMaps) layerMap = layerMap.contiguous(at::MemoryFormat::ChannelsLast).to(at::kFloat);
  return item.once ? cache_.rounded(layerMaps) : cache_.offer(item.key, layerMaps);
}

StepOutput Trainer::forwardBackward(const StepInput& input) {
  const StepOptions options{config_.alignCorners, config_.upscale, config_.adaptedClassification,
                            config_.stopGradient, config_.overlap, config_.focalMap,
                            config_.precision,    group_.get()};
  return config_.direct ? stepDirect(heads_, input, options) : stepLowResolution(heads_, input, options, geometry_);
}

void Trainer::prepareUpdate(LearningRates rates) {
  runner_->prepareUpdate(AdamWRates(updates_ + 1, rates.adaptor, config_.adaptorWeightDecay),
                         AdamWRates(updates_ + 1, rates.heads, config_.headsWeightDecay), trainedParameters(heads_),
                         optimizer_);
}

at::Tensor Trainer::update(const std::vector<at::Tensor>& gradients, LearningRates rates) {
  at::NoGradGuard guard;
  const auto use = runner_->use();
  prepareUpdate(rates);
  const at::Tensor norm = gradientNorm(gradients);
  runner_->update(trainedParameters(heads_), gradients, optimizer_, norm, config_.gradientClip);
  ++updates_;
  return norm;
}

at::Tensor Trainer::gradientNorm(const std::vector<at::Tensor>& gradients) {
  at::Tensor square = at::zeros({}, gradients[0].options().dtype(at::kDouble));
  for (const at::Tensor& gradient : gradients) square.add_(gradient.to(at::kDouble).square().sum());
  return square.sqrt();
}

void Trainer::sumGradients(std::vector<at::Tensor>& gradients) {
  std::vector<at::Tensor> flat;
  for (const at::Tensor& gradient : gradients) flat.push_back(gradient.reshape({-1}));
  at::Tensor all = at::cat(flat);
#ifdef SSN_CUDA
  if (nccl_) {
    (*nccl_)(all);
  } else
#endif
  {
    at::Tensor host = all.cpu();
    group_->sum(host);
    all = host.to(config_.device);
  }
  int64_t at = 0;
  for (at::Tensor& gradient : gradients) {
    gradient = all.slice(0, at, at + gradient.numel()).view(gradient.sizes());
    at += gradient.numel();
  }
}

at::Tensor Trainer::compute(const StepInput& input) {
  StepOutput out;
  {
    at::AutoGradMode grad(true);
    out = forwardBackward(input);
  }
  throwIfCancelled();  // the last place to stop: an update happens as a whole
  const at::Tensor losses = sumOverRanks(
      at::stack({out.l1Normal, out.l1Anomalous, out.focalMap, out.focalScore}).to(at::kDouble), group_.get());
  if (group_) sumGradients(out.gradients);
  const at::Tensor norm = gradientNorm(out.gradients);
  if (runner_->valuesAtHand() || group_) checkFinite(losses.sum().item<double>(), norm.item<double>(), 0.0);
  runner_->update(trainedParameters(heads_), out.gradients, optimizer_, norm, config_.gradientClip);
  std::vector<at::Tensor> statistics;
  for (const Heads::Named& entry : heads_.named())
    if (entry.group == Heads::Named::kBuffer) statistics.push_back(*entry.tensor);
  const at::Tensor active = out.active.defined() ? out.active.to(at::kDouble) : at::zeros({}, norm.options());
  return at::cat({losses, at::stack({norm, at::cat(statistics).sum().to(at::kDouble), active})});
}

std::vector<StepLosses> Trainer::step(int64_t index, const std::vector<StepItem>& items, Share share,
                                      LearningRates rates, double noiseScale) {
  at::NoGradGuard guard;
  RecyclingScope recycling;
  const AllowTf32 allow(config_.device, config_.tf32);
  const auto use = runner_->use();
  const StepStreams streams = this->streams(index, static_cast<int64_t>(items.size()), share);
  std::vector<int64_t> keys;
  std::vector<std::vector<at::Tensor>> images;
  for (const StepItem& item : items) {
    target(item.key);
    keys.push_back(item.key);
    images.push_back(layerMapsOf(item));
  }
  prepareUpdate(rates);
  const StepRunner::Result result =
      runner_->run({streams, keys}, targets_, images, config_.noiseStd, static_cast<float>(noiseScale),
                   [this](const StepInput& input) { return compute(input); });
  pending_.push_back({Readback(result.values), result.positions});
  ++updates_;
  return known(/*all=*/group_ != nullptr);  // ranks have waited for each other, and tell the same
}

std::vector<StepLosses> Trainer::known(bool all) {
  std::vector<StepLosses> out;
  while (!pending_.empty() && (all || pending_.size() > kStepsAhead || pending_.front().values.arrived())) {
    const at::Tensor values = pending_.front().values.wait();
    const double* v = values.data_ptr<double>();
    const StepLosses losses{v[0], v[1], v[2], v[3], v[0] + v[1] + v[2] + v[3], v[4]};
    try {
      const int64_t planned = pending_.front().positions, active = static_cast<int64_t>(v[6]);
      if (planned >= 0 && active != planned)
        throw Error("INTERNAL", "a step has noise at " + std::to_string(active) + " positions, " +
                                    std::to_string(planned) + " were planned");
      checkFinite(losses.total, losses.gradientNorm, v[5]);
    } catch (const Error&) {
      if (!out.empty()) return out;  // what was good is told first; this comes up again
      pending_.clear();
      throw;
    }
    pending_.pop_front();
    out.push_back(losses);
  }
  return out;
}

std::vector<StepLosses> Trainer::finishSteps() {
  const auto use = runner_->use();
  return known(/*all=*/true);
}

void Trainer::observe(const std::vector<StepItem>& items) {
  at::NoGradGuard guard;
  const auto use = runner_->use();
  RecyclingScope recycling;
  sum_.resize(shape_.channels);
  sumOfSquares_.resize(shape_.channels);
  for (const StepItem& item : items) {
    const at::Tensor features =
        pooledFeatures(layerMapsOf(item), config_.alignCorners, config_.upscale).to(at::kDouble);
    const at::Tensor sum = features.sum({0, 2, 3}).cpu(), squares = features.square().sum({0, 2, 3}).cpu();
    for (int64_t c = 0; c < shape_.channels; ++c) {
      sum_[c] += sum.data_ptr<double>()[c];
      sumOfSquares_[c] += squares.data_ptr<double>()[c];
    }
    observed_ += static_cast<double>(shape_.height * shape_.width);
  }
}

std::vector<float> Trainer::scores(const std::vector<StepItem>& items) {
  at::NoGradGuard guard;
  const AllowTf32 allow(config_.device, config_.tf32);
  const auto use = runner_->use();
  RecyclingScope recycling;
  runner_->settle();
  std::optional<FoldedHeads> folded;
  if (!config_.direct) folded.emplace(heads_, config_.adaptedClassification, geometry_, config_.precision);
  std::vector<float> out;
  for (const StepItem& item : items) {
    std::vector<at::Tensor> layerMaps = layerMapsOf(item);
    if (folded) {
      for (at::Tensor& layerMap : layerMaps) layerMap = layerMap.to(config_.precision);
      out.push_back((*folded)(layerMaps).score.item<float>());
      continue;
    }
    const at::Tensor features = pooledFeatures(layerMaps, config_.alignCorners, config_.upscale);
    const at::Tensor adaptedFeatures = adapted(heads_, features);
    out.push_back(headsDirect(heads_, adaptedFeatures, config_.adaptedClassification ? adaptedFeatures : features,
                              /*training=*/false, /*stopGradient=*/false)
                      .score.item<float>());
  }
  return out;
}

std::vector<float> Trainer::featureStd() {
  const size_t channels = shape_.channels;
  std::vector<double> sums(2 * channels + 1, 0.0);
  std::copy(sum_.begin(), sum_.end(), sums.begin());
  std::copy(sumOfSquares_.begin(), sumOfSquares_.end(), sums.begin() + channels);
  sums.back() = observed_;
  if (group_) group_->sum(sums.data(), sums.size());
  std::vector<float> out(channels);
  for (size_t c = 0; c < channels; ++c) {
    const double mean = sums[c] / sums.back();
    out[c] = static_cast<float>(std::sqrt(std::max(0.0, sums[channels + c] / sums.back() - mean * mean)));
  }
  return out;
}

Trainer::State Trainer::state() {
  const auto use = runner_->use();
  State out;
  out.heads = headsToTensors(heads_);
  const auto parameters = trainedParameters(heads_);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!optimizer_[i].mean.defined()) continue;
    out.optimizer["mean." + parameters[i].name] = optimizer_[i].mean.cpu().clone();
    out.optimizer["variance." + parameters[i].name] = optimizer_[i].variance.cpu().clone();
  }
  out.optimizer["updates"] = at::full({1}, static_cast<double>(updates_), at::kLong);
  return out;
}

void Trainer::restore(const State& state) {
  const auto use = runner_->use();
  runner_->settle();
  heads_ = headsFromTensors(state.heads, shape_.channels, config_.layout, config_.device);
  const auto parameters = trainedParameters(heads_);
  const auto moment = [&](const std::string& name, const at::Tensor& like) {
    const auto found = state.optimizer.find(name);
    if (found == state.optimizer.end() || found->second.sizes() != like.sizes())
      throw Error("FILE_CORRUPT", "the checkpoint has no optimiser state '" + name + "' of the right shape");
    return found->second.to(at::TensorOptions().device(config_.device).dtype(at::kFloat), false, /*copy=*/true);
  };
  const auto updates = state.optimizer.find("updates");
  if (updates == state.optimizer.end() || updates->second.numel() != 1)
    throw Error("FILE_CORRUPT", "the checkpoint does not say how many updates were made");
  updates_ = updates->second.item<int64_t>();
  for (size_t i = 0; i < parameters.size(); ++i) {
    optimizer_[i] = {};
    if (updates_ > 0)
      optimizer_[i] = {moment("mean." + parameters[i].name, *parameters[i].tensor),
                       moment("variance." + parameters[i].name, *parameters[i].tensor)};
  }
}

void Trainer::shareState() {
  if (!group_) return;
  const auto use = runner_->use();
  at::Tensor updates = at::full({1}, static_cast<double>(updates_), at::kLong);
  group_->broadcast(updates);
  updates_ = updates.item<int64_t>();
  const auto share = [&](at::Tensor& tensor) {
    at::Tensor copy = tensor.cpu().contiguous().clone();
    group_->broadcast(copy);
    tensor.copy_(copy);
  };
  for (const Heads::Named& entry : heads_.named()) share(*entry.tensor);
  const auto parameters = trainedParameters(heads_);
  for (size_t i = 0; i < parameters.size() && updates_ > 0; ++i) {
    begin(optimizer_[i], *parameters[i].tensor);
    share(optimizer_[i].mean);
    share(optimizer_[i].variance);
  }
}

}  // namespace ssn

#include "anomalies/masks.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <bit>

#include "anomalies/perlin.h"
#include "runs_on_host.h"
#include "kernels/run.h"

namespace ssn {
namespace {

kernels::AnomalyField fieldOf(const AnomalyMaskOptions& options, uint64_t seed) {
  const auto grid = [](int64_t side) { return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(side))); };
  return {options.kind,
          static_cast<uint32_t>(seed),
          static_cast<uint32_t>(seed >> 32),
          options.height,
          options.width,
          grid(options.height),
          grid(options.width),
          options.threshold};
}

}  // namespace

at::Tensor anomalyMasks(const AnomalyMaskOptions& options, const StepStreams& streams, at::Device device) {
  const int64_t b = streams.images;
  streams.check();
  if (!runsOnHost(device)) {
    const at::Tensor out =
        at::empty({2 * b, 1, options.height, options.width}, at::TensorOptions().device(device).dtype(at::kFloat));
    forEach(device, out.numel(),
            kernels::AnomalyMasks{fieldOf(options, streams.seed), streams.stepOnDevice.data_ptr<int64_t>(), b,
                                  streams.first, streams.second, out.data_ptr<float>()});
    return out;
  }
  if (options.kind == AnomalyKind::perlin) {
    const auto masks = [&](int64_t first) {
      return perlinMasks(streams.seed, streams.step, first, b, options.height, options.width, options.threshold);
    };
    return at::cat({masks(streams.first), masks(streams.second)}, 0);
  }
  at::Tensor out = at::zeros({2 * b, 1, options.height, options.width});
  if (options.kind == AnomalyKind::wholeSecondCopy) out.slice(0, b).fill_(1.0);
  return out;
}

std::vector<int64_t> anomalyCounts(const AnomalyMaskOptions& options, const std::vector<StepStreams>& steps,
                                   const std::vector<int64_t>& rows, const at::Tensor& real, at::Device device) {
  int64_t samples = 0;
  for (const StepStreams& step : steps) samples += 2 * step.images;
  std::vector<int64_t> out(steps.size(), 0);
  if (samples == 0) return out;
  // Rows: step, stream, whether of the second copy, row of the real defects.
  at::Tensor table = at::empty({4, samples}, at::kLong);
  int64_t* at = table.data_ptr<int64_t>();
  size_t first = 0;  // of the step's images
  for (const StepStreams& step : steps) {
    step.check();
    for (int64_t s = 0; s < 2 * step.images; ++s, ++at) {
      at[0] = step.step;
      at[samples] = step.of(s);
      at[2 * samples] = s >= step.images;
      at[3 * samples] = rows[first + static_cast<size_t>(s % step.images)];
    }
    first += static_cast<size_t>(step.images);
  }
  const at::Tensor tableOnDevice = table.to(device),
                   counts = at::empty({samples}, tableOnDevice.options().dtype(at::kInt));
  const int64_t* columns = tableOnDevice.data_ptr<int64_t>();
  reduceRows(device, samples,
             kernels::AnomalyCounts{fieldOf(options, steps[0].seed), columns, columns + samples, columns + 2 * samples,
                                    columns + 3 * samples, real.defined() ? real.data_ptr<uint8_t>() : nullptr,
                                    counts.data_ptr<int32_t>()});
  const at::Tensor countsOnHost = counts.cpu();
  const int32_t* count = countsOnHost.data_ptr<int32_t>();
  for (size_t i = 0; i < steps.size(); ++i)
    for (int64_t s = 0; s < 2 * steps[i].images; ++s) out[i] += *count++;
  return out;
}

}  // namespace ssn

#include "anomalies/latent_noise.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>

#include "runs_on_host.h"
#include "kernels/noise.h"
#include "kernels/run.h"

namespace ssn {
namespace {

constexpr int64_t kRun = kNoiseRun;
constexpr int64_t kBlocks = 64;  // Philox blocks per call of normals()
constexpr int64_t kValues = 4 * kBlocks;

// The unit normals of kValues channels of one position, from block `firstBlock` on. out[4][kBlocks], by word.
void normals(const RandomStream& stream, uint32_t position, uint32_t firstBlock, float* out) {
  uint32_t words[4][kBlocks];
  const uint32_t tag = stream.tag, step = stream.step, key0 = stream.key0, key1 = stream.key1;
  for (int64_t i = 0; i < kBlocks; ++i) {
    const PhiloxBlock block = philox4x32({firstBlock + static_cast<uint32_t>(i), position, tag, step}, key0, key1);
    for (int j = 0; j < 4; ++j) words[j][i] = block[j];
  }
  for (int64_t i = 0; i < kBlocks; ++i) boxMuller(words[0][i], words[1][i], out[i], out[kBlocks + i]);
  for (int64_t i = 0; i < kBlocks; ++i) boxMuller(words[2][i], words[3][i], out[2 * kBlocks + i], out[3 * kBlocks + i]);
}

void noiseAt(const RandomStream& stream, int32_t position, int64_t channels, const float* std, float* out) {
  float values[kValues];
  for (int64_t start = 0; start < channels; start += kValues) {
    normals(stream, static_cast<uint32_t>(position), static_cast<uint32_t>(start / 4), values);
    for (int64_t first = start, run = 0; first < std::min(channels, start + kValues); first += kRun, ++run) {
      const int64_t group = run / 4, word = run % 4;
      const float* from = values + word * kBlocks + group * kRun;
      const int64_t count = std::min(kRun, channels - first);
      if (std == nullptr)
        for (int64_t i = 0; i < count; ++i) out[first + i] = from[i];
      else
        for (int64_t i = 0; i < count; ++i) out[first + i] = from[i] * std[first + i];
    }
  }
}

// The normals of `purpose` for each cell.
void draw(Purpose purpose, const StepStreams& streams, int64_t plane, const at::Tensor& cells, const at::Tensor& std,
          at::Tensor out) {
  const int64_t channels = out.size(1);
  const int64_t* cell = cells.data_ptr<int64_t>();
  const float* scale = std.defined() ? std.data_ptr<float>() : nullptr;
  float* to = out.data_ptr<float>();
  if (!runsOnHost(cells)) {
    streams.check();
    const kernels::LatentNoise body{purpose,
                                    static_cast<uint32_t>(streams.seed),
                                    static_cast<uint32_t>(streams.seed >> 32),
                                    streams.stepOnDevice.data_ptr<int64_t>(),
                                    streams.images,
                                    streams.first,
                                    streams.second,
                                    cell,
                                    plane,
                                    channels,
                                    scale,
                                    to};
    forEach(cells.device(), cells.numel() * kernels::LatentNoise::blocks(channels), body);
    return;
  }
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, channels));
  at::parallel_for(0, cells.numel(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const RandomStream stream(streams.seed, streams.step, purpose, streams.of(cell[i] / plane));
      noiseAt(stream, static_cast<int32_t>(cell[i] % plane), channels, scale, to + i * channels);
    }
  });
}

}  // namespace

at::Tensor Noise::expanded() const {
  return shared() ? at::index_select(vectors, 0, index) * weight.unsqueeze(1) : vectors;
}

void latentNoise(const StepStreams& streams, int64_t plane, const at::Tensor& cells, const at::Tensor& std,
                 at::Tensor out) {
  draw(Purpose::latentNoise, streams, plane, cells, std, std::move(out));
}

Noise sharedNoise(const StepStreams& streams, int64_t plane, const at::Tensor& cells, const at::Tensor& std,
                  at::Tensor out) {
  const int64_t vectors = out.size(0);
  // A "sample" of its own, the same at all ranks, whose positions are the vectors.
  StepStreams own = streams;
  own.images = 1;
  own.first = own.second = 0;
  draw(Purpose::noiseVectors, own, vectors, at::arange(vectors, cells.options()), std, out);
  Noise noise{out, at::empty({cells.numel()}, cells.options().dtype(at::kInt)),
              at::empty({cells.numel()}, cells.options().dtype(at::kFloat))};
  forEach(cells.device(), cells.numel(),
          kernels::NoiseChoice{static_cast<uint32_t>(streams.seed), static_cast<uint32_t>(streams.seed >> 32),
                               runsOnHost(cells) ? &streams.step : streams.stepOnDevice.data_ptr<int64_t>(),
                               streams.images, streams.first, streams.second, cells.data_ptr<int64_t>(), plane, vectors,
                               noise.index.data_ptr<int32_t>(), noise.weight.data_ptr<float>()});
  return noise;
}

}  // namespace ssn

#include "backbone/winograd.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "lanes.h"

namespace ssn {
namespace {

// Outputs of one product: two registers of them.
template <class R>
constexpr int64_t kOutputs = 2 * R::kLanes;

// The polynomial is evaluated at 0, a, -a, b, -b and infinity. The usual 1 and 2 lose 2 to 4 times more digits; these
// are also short enough for every constant below to be exact.
constexpr float kA = 0.625f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB;

template <int m>
struct Transform;

template <>
struct Transform<4> {
  // In place, B^T x.
  template <class Lanes>
  static SSN_INLINE void input(Lanes (&x)[6]) {
    const Lanes evenA = x[4] - kB2 * x[2], oddA = kA * (x[3] - kB2 * x[1]);
    const Lanes evenB = x[4] - kA2 * x[2], oddB = kB * (x[3] - kA2 * x[1]);
    x[0] = x[4] - (kA2 + kB2) * x[2] + kA2 * kB2 * x[0];
    x[5] = x[5] - (kA2 + kB2) * x[3] + kA2 * kB2 * x[1];
    x[1] = evenA + oddA, x[2] = evenA - oddA, x[3] = evenB + oddB, x[4] = evenB - oddB;
  }
  // A^T x
  template <class Lanes>
  static SSN_INLINE void output(const Lanes (&x)[6], Lanes (&y)[4]) {
    const Lanes sumA = x[1] + x[2], differenceA = x[1] - x[2], sumB = x[3] + x[4], differenceB = x[3] - x[4];
    y[0] = x[0] + sumA + sumB;
    y[1] = kA * differenceA + kB * differenceB;
    y[2] = kA2 * sumA + kB2 * sumB;
    y[3] = kA2 * kA * differenceA + kB2 * kB * differenceB + x[5];
  }
  // G, row by row.
  static constexpr std::array<double, 18> weight() {
    const double a = kA, b = kB, nA = 2 * a * a * (a * a - b * b), nB = 2 * b * b * (b * b - a * a), n0 = a * a * b * b;
    return {1 / n0, 0,      0,          1 / nA, a / nA,  a * a / nA, 1 / nA, -a / nA, a * a / nA,  //
            1 / nB, b / nB, b * b / nB, 1 / nB, -b / nB, b * b / nB, 0,      0,       1};
  }
};

// At 0, 1, -1 and infinity.
template <>
struct Transform<2> {
  template <class Lanes>
  static SSN_INLINE void input(Lanes (&x)[4]) {
    const Lanes sum = x[2] + x[1], difference = x[2] - x[1];
    x[0] = x[0] - x[2];
    x[3] = x[3] - x[1];
    x[1] = sum, x[2] = difference;
  }
  template <class Lanes>
  static SSN_INLINE void output(const Lanes (&x)[4], Lanes (&y)[2]) {
    y[0] = x[0] + x[1] + x[2];
    y[1] = x[1] - x[2] + x[3];
  }
  static constexpr std::array<double, 12> weight() { return {1, 0, 0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0, 0, 1}; }
};

struct Layer {
  int64_t in, out;
  const float *weight, *bias;
  bool add, relu;
};

// The tiles that one thread has at hand. They are taken in groups of as many as one product holds in registers; v and
// products keep what belongs to a group together, so that the frequencies of a tile lie on few pages.
struct Block {
  const float* const* in;  // per tile n x n positions of the input, n = m + 2
  float* const* out;       // per tile m x m positions of the output
  int64_t tiles;
  float* v;         // transformed input: group x in/lanes x n x n x tile x lanes
  float* products;  // group x n x n x tile x outputs of one product
};

template <class R, int m>
SSN_INLINE void transformInput(const float* const* in, int64_t tiles, int64_t channels, float* v) {
  constexpr int n = m + 2;
  const int64_t apart = tiles * R::kLanes;
  for (int64_t t = 0; t < tiles; ++t, in += n * n, v += R::kLanes) {
    float* to = v;
    for (int64_t c = 0; c < channels; c += R::kLanes, to += n * n * apart) {
      typename R::Lanes x[n][n];
#pragma GCC unroll 6
      for (int j = 0; j < n; ++j) {
        typename R::Lanes column[n];
#pragma GCC unroll 6
        for (int i = 0; i < n; ++i) column[i] = R::load(in[i * n + j] + c);
        Transform<m>::input(column);
#pragma GCC unroll 6
        for (int i = 0; i < n; ++i) x[i][j] = column[i];
      }
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) {
        Transform<m>::input(x[i]);
#pragma GCC unroll 6
        for (int j = 0; j < n; ++j) R::store(to + (i * n + j) * apart, x[i][j]);
      }
    }
  }
}

// What is loaded ahead of its use, 2 in x `step` floats: the processor's own prefetching ends with each page of 4 KiB.
struct Ahead {
  const float* next;
  int64_t other, step;
};

// products[r][o] = sum over c of v[c / lanes][r][c % lanes] weight[c][o]; apart: of v's first index.
template <class R, int kRows>
SSN_INLINE void multiply(const float* v, int64_t apart, const float* weight, int64_t in, Ahead ahead, float* products) {
  typename R::Lanes sum[kRows][2] = {};
  for (int64_t c = 0; c < in; c += R::kLanes, v += apart) {
    for (int64_t i = 0; i < R::kLanes; ++i, weight += kOutputs<R>, ahead.next += ahead.step) {
      __builtin_prefetch(ahead.next, 0, 2);
      __builtin_prefetch(ahead.next + ahead.other, 0, 2);
      const typename R::Lanes w0 = R::load(weight), w1 = R::load(weight + R::kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) {
        const float x = v[r * R::kLanes + i];
        sum[r][0] += x * w0;
        sum[r][1] += x * w1;
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    R::store(products + r * kOutputs<R>, sum[r][0]);
    R::store(products + r * kOutputs<R> + R::kLanes, sum[r][1]);
  }
}

template <class R, int kRows>
SSN_INLINE void multiplyRows(int64_t rows, const float* v, int64_t apart, const float* weight, int64_t in,
                             const Ahead& ahead, float* products) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return multiplyRows<R, kRows - 1>(rows, v, apart, weight, in, ahead, products);
  }
  multiply<R, kRows>(v, apart, weight, in, ahead, products);
}

template <class R, int m>
SSN_INLINE void transformOutput(const Layer& layer, const float* products, int64_t tiles, int64_t channel,
                                float* const* out) {
  constexpr int n = m + 2;
  const int64_t apart = tiles * kOutputs<R>;
  for (int64_t t = 0; t < tiles; ++t, products += kOutputs<R>, out += m * m) {
    for (int64_t c = 0; c < kOutputs<R>; c += R::kLanes) {
      typename R::Lanes x[m][n];
#pragma GCC unroll 6
      for (int j = 0; j < n; ++j) {
        typename R::Lanes column[n], y[m];
#pragma GCC unroll 6
        for (int i = 0; i < n; ++i) column[i] = R::load(products + c + (i * n + j) * apart);
        Transform<m>::output(column, y);
#pragma GCC unroll 6
        for (int i = 0; i < m; ++i) x[i][j] = y[i];
      }
      const typename R::Lanes bias = R::load(layer.bias + channel + c), zero = {};
#pragma GCC unroll 4
      for (int i = 0; i < m; ++i) {
        typename R::Lanes y[m];
        Transform<m>::output(x[i], y);
#pragma GCC unroll 4
        for (int j = 0; j < m; ++j) {
          float* to = out[i * m + j] + channel + c;
          typename R::Lanes value = y[j] + bias;
          if (layer.add) value += R::load(to);
          if (layer.relu) value = value < zero ? zero : value;  // not a number stays one
          R::store(to, value);
        }
      }
    }
  }
}

// kRows: tiles of one product that fit into the registers.
template <class R, int m, int kRows>
SSN_INLINE void convolve(const Layer& layer, const Block& block) {
  constexpr int64_t kFrequencies = (m + 2) * (m + 2);
  const int64_t groups = (block.tiles + kRows - 1) / kRows, panel = layer.in * kOutputs<R>,
                step = kOutputs<R> / 2 / groups;
  const auto first = [&](int64_t group) { return block.tiles * group / groups; };
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t t = first(g);
    transformInput<R, m>(block.in + t * kFrequencies, first(g + 1) - t, layer.in,
                         block.v + t * kFrequencies * layer.in);
  }
  const float* weight = layer.weight;
  for (int64_t channel = 0; channel < layer.out; channel += kOutputs<R>) {
    for (int64_t k = 0; k < kFrequencies; ++k, weight += panel) {
      const float* next = channel + kOutputs<R> == layer.out && k + 1 == kFrequencies ? layer.weight : weight + panel;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t t = first(g), tiles = first(g + 1) - t;
        multiplyRows<R, kRows>(tiles, block.v + t * kFrequencies * layer.in + k * tiles * R::kLanes,
                               kFrequencies * tiles * R::kLanes, weight, layer.in,
                               {next + g * step * layer.in, panel / 2, step},
                               block.products + (t * kFrequencies + k * tiles) * kOutputs<R>);
      }
    }
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t t = first(g);
      transformOutput<R, m>(layer, block.products + t * kFrequencies * kOutputs<R>, first(g + 1) - t, channel,
                            block.out + t * m * m);
    }
  }
}

// Inputs whose weights are transformed together: with the outputs of one product they stay in the first-level cache.
constexpr int64_t kInputs = 16;

// G w G^T, in double, of the outputs of one product and kInputs inputs. weight: of the first of them; in: all inputs.
template <class R, int m>
SSN_INLINE void transformWeight(const float* weight, int64_t in, float* transformed) {
  constexpr int n = m + 2;
  constexpr auto g = Transform<m>::weight();
  alignas(64) float w[kInputs][9][kOutputs<R>];
  for (int64_t o = 0; o < kOutputs<R>; ++o)
    for (int64_t c = 0; c < kInputs; ++c)
      for (int j = 0; j < 9; ++j) w[c][j][o] = weight[(o * in + c) * 9 + j];
  for (int64_t c = 0; c < kInputs; ++c)
    for (int i = 0; i < n; ++i) {
      alignas(64) double row[3][kOutputs<R>];
      for (int j = 0; j < 3; ++j)
        for (int64_t o = 0; o < kOutputs<R>; ++o)
          row[j][o] = g[3 * i] * w[c][j][o] + g[3 * i + 1] * w[c][3 + j][o] + g[3 * i + 2] * w[c][6 + j][o];
      for (int j = 0; j < n; ++j) {
        float* to = transformed + ((i * n + j) * in + c) * kOutputs<R>;
        for (int64_t o = 0; o < kOutputs<R>; ++o)
          to[o] = static_cast<float>(g[3 * j] * row[0][o] + g[3 * j + 1] * row[1][o] + g[3 * j + 2] * row[2][o]);
      }
    }
}

// One function per instruction set and tile.
struct Functions {
  void (*tile4)(const Layer&, const Block&);
  void (*tile2)(const Layer&, const Block&);
  void (*weight4)(const float* weight, int64_t in, float* transformed);
  void (*weight2)(const float* weight, int64_t in, float* transformed);
  int64_t outputs;  // of one product
};

#ifdef SSN_AVX2
SSN_AVX512 void convolve4Avx512(const Layer& layer, const Block& block) { convolve<Avx512, 4, 12>(layer, block); }
SSN_AVX512 void convolve2Avx512(const Layer& layer, const Block& block) { convolve<Avx512, 2, 12>(layer, block); }
SSN_AVX2 void convolve4Avx2(const Layer& layer, const Block& block) { convolve<Avx2, 4, 6>(layer, block); }
SSN_AVX2 void convolve2Avx2(const Layer& layer, const Block& block) { convolve<Avx2, 2, 6>(layer, block); }
SSN_AVX512 void weight4Avx512(const float* weight, int64_t in, float* to) {
  transformWeight<Avx512, 4>(weight, in, to);
}
SSN_AVX512 void weight2Avx512(const float* weight, int64_t in, float* to) {
  transformWeight<Avx512, 2>(weight, in, to);
}
SSN_AVX2 void weight4Avx2(const float* weight, int64_t in, float* to) { transformWeight<Avx2, 4>(weight, in, to); }
SSN_AVX2 void weight2Avx2(const float* weight, int64_t in, float* to) { transformWeight<Avx2, 2>(weight, in, to); }

// Null for processors without AVX2.
const Functions* functions() {
  static const Functions avx512{convolve4Avx512, convolve2Avx512, weight4Avx512, weight2Avx512, kOutputs<Avx512>},
      avx2{convolve4Avx2, convolve2Avx2, weight4Avx2, weight2Avx2, kOutputs<Avx2>};
  return forProcessor<const Functions*>(nullptr, &avx2, &avx512);
}
#else
const Functions* functions() { return nullptr; }
#endif

}  // namespace

int64_t Winograd::tile(const at::Tensor& weight, int64_t stride, int64_t padding, int64_t height, int64_t width) {
  if (functions() == nullptr || weight.scalar_type() != at::kFloat || weight.size(2) != 3 || weight.size(3) != 3 ||
      stride != 1 || padding != 1)
    return 0;
  const int64_t out = weight.size(0), in = weight.size(1);
  if (out % 32 != 0 || in % 16 != 0) return 0;
  // With few tiles the time goes into reading the weights; those of 4x4 are 4 times as many as the direct
  // convolution's. From measurements: docs/measurements/performance.md.
  constexpr int64_t kFew = 12, kMany = 32, kCachedWeights = 4 << 20;
  const auto tiles = [&](int64_t m) { return ((height + m - 1) / m) * ((width + m - 1) / m); };
  if (tiles(4) >= (36 * out * in <= kCachedWeights ? kFew : kMany)) return 4;
  return tiles(2) >= kFew ? 2 : 0;
}

Winograd::Winograd(const at::Tensor& weight, const at::Tensor& bias, int64_t tile)
    : bias_(bias.contiguous()), tile_(tile) {
  const int64_t n = tile + 2, out = weight.size(0), in = weight.size(1), outputs = functions()->outputs;
  const at::Tensor dense = weight.contiguous();
  weight_ = at::empty({out / outputs, n * n, in, outputs}, weight.options());
  const float* from = dense.data_ptr<float>();
  float* to = weight_.data_ptr<float>();
  const auto transform = tile == 4 ? functions()->weight4 : functions()->weight2;
  const int64_t groups = in / kInputs;
  at::parallel_for(0, out / outputs * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / groups * outputs, c = i % groups * kInputs;
      transform(from + (o * in + c) * 9, in, to + o * n * n * in + c * outputs);
    }
  });
}

void Winograd::run(const at::Tensor& x, const at::Tensor& out, bool add, bool relu) const {
  const int64_t m = tile_, n = m + 2, batch = x.size(0), height = x.size(2), width = x.size(3);
  const int64_t down = (height + m - 1) / m, across = (width + m - 1) / m, tiles = batch * down * across;
  const Layer layer{x.size(1), out.size(1), weight_.data_ptr<float>(), bias_.data_ptr<float>(), add, relu};
  const float* from = x.data_ptr<float>();
  float* to = out.data_ptr<float>();
  const auto convolve = m == 4 ? functions()->tile4 : functions()->tile2;
  const int64_t outputs = functions()->outputs;
  // What a block has should stay in the second-level cache, but the weights are read once for each.
  const int64_t most = std::max<int64_t>(32, (160 << 10) / (n * n * layer.in));
  at::parallel_for(0, tiles, 8, [&](int64_t first, int64_t last) {
    const int64_t blocks = (last - first + most - 1) / most, size = (last - first + blocks - 1) / blocks;
    const auto v = std::make_unique_for_overwrite<float[]>(n * n * layer.in * size),
               products = std::make_unique_for_overwrite<float[]>(n * n * size * outputs);
    std::vector<float> zeros(layer.in), beyond(layer.out);
    std::vector<const float*> in(size * n * n);
    std::vector<float*> outputPositions(size * m * m);
    for (int64_t begin = first; begin < last; begin += size) {
      const Block block{in.data(), outputPositions.data(), std::min(size, last - begin), v.get(), products.get()};
      for (int64_t t = 0; t < block.tiles; ++t) {
        const int64_t image = (begin + t) / (down * across), y0 = (begin + t) / across % down * m,
                      x0 = (begin + t) % across * m;
        for (int64_t i = 0; i < n * n; ++i) {
          const int64_t py = y0 + i / n - 1, px = x0 + i % n - 1;
          in[t * n * n + i] = py >= 0 && py < height && px >= 0 && px < width
                                  ? from + ((image * height + py) * width + px) * layer.in
                                  : zeros.data();
        }
        for (int64_t i = 0; i < m * m; ++i) {
          const int64_t py = y0 + i / m, px = x0 + i % m;
          outputPositions[t * m * m + i] =
              py < height && px < width ? to + ((image * height + py) * width + px) * layer.out : beyond.data();
        }
      }
      convolve(layer, block);
    }
  });
}

at::Tensor Winograd::operator()(const at::Tensor& x, bool relu) const {
  at::Tensor out =
      at::empty({x.size(0), bias_.size(0), x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
  run(x.contiguous(at::MemoryFormat::ChannelsLast), out, false, relu);
  return out;
}

at::Tensor Winograd::addRelu(const at::Tensor& x, const at::Tensor& residual) const {
  run(x.contiguous(at::MemoryFormat::ChannelsLast), residual, true, true);
  return residual;
}

}  // namespace ssn

#include "backbone/convolution.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/relu.h>

#include <optional>
#include <string_view>

#include "runs_on_host.h"
#include "kernels/inference.h"
#include "kernels/run.h"

namespace ssn {
namespace {

using Sizes = at::IntArrayRef;
using Scalars = c10::List<std::optional<at::Scalar>>;
using Name = std::optional<std::string_view>;

// Fixed per minor version of libtorch; the engine refuses any other, and the call checks the schema.
using Pack = at::Tensor(const at::Tensor&, Sizes padding, Sizes stride, Sizes dilation, int64_t groups,
                        at::OptionalIntArrayRef inputSize);
using Unary = at::Tensor(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                         Sizes padding, Sizes stride, Sizes dilation, int64_t groups, std::string_view attribute,
                         Scalars scalars, Name algorithm);
using Binary = at::Tensor&(at::Tensor& other, const at::Tensor& x, const at::Tensor& weight,
                           const std::optional<at::Tensor>& bias, Sizes padding, Sizes stride, Sizes dilation,
                           int64_t groups, std::string_view binary, std::optional<at::Scalar> alpha, Name unary,
                           Scalars scalars, Name algorithm);

struct Operators {
  c10::TypedOperatorHandle<Pack> pack;
  c10::TypedOperatorHandle<Unary> unary;
  c10::TypedOperatorHandle<Binary> binary;
};

// None where libtorch was built without oneDNN.
const Operators* operators() {
  static const std::optional<Operators> found = []() -> std::optional<Operators> {
    auto& dispatcher = c10::Dispatcher::singleton();
    const auto pack = dispatcher.findSchema({"mkldnn::_reorder_convolution_weight", ""});
    const auto unary = dispatcher.findSchema({"mkldnn::_convolution_pointwise", ""});
    const auto binary = dispatcher.findSchema({"mkldnn::_convolution_pointwise_", "binary"});
    if (!at::hasMKLDNN() || !pack || !unary || !binary) return std::nullopt;
    return Operators{pack->typed<Pack>(), unary->typed<Unary>(), binary->typed<Binary>()};
  }();
  return found ? &*found : nullptr;
}

// oneDNN computes bfloat16 with AVX-512 only; at::conv2d has slow loops for other processors.
bool computable(at::ScalarType type) {
  return type == at::kFloat || (type == at::kBFloat16 && at::get_cpu_capability() == "AVX512");
}

}  // namespace

Convolution::Convolution(const at::Tensor& weight, const at::Tensor& bias, int64_t stride, int64_t padding,
                         int64_t height, int64_t width)
    : bias_(bias), stride_(stride), padding_(padding) {
  if (const int64_t tile = runsOnHost(weight) ? Winograd::tile(weight, stride, padding, height, width) : 0; tile != 0) {
    winograd_.emplace(weight, bias, tile);
    return;
  }
  weight_ = weight.contiguous(at::MemoryFormat::ChannelsLast);
  if (!runsOnHost(weight) || !computable(weight.scalar_type()) || operators() == nullptr) return;
  packed_ = operators()->pack.call(weight_, {padding, padding}, {stride, stride}, {1, 1}, 1,
                                   at::OptionalIntArrayRef({1, weight.size(1), height, width}));
  weight_.reset();
}

// What follows the convolution in one pass, on other devices than the CPU. `residual` may be undefined.
at::Tensor Convolution::finished(const at::Tensor& x, const at::Tensor& residual, bool relu) const {
  const at::Tensor y = at::conv2d(x, weight_, {}, stride_, padding_).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor added = residual.defined() ? residual.contiguous(at::MemoryFormat::ChannelsLast) : residual;
  withElement(y.scalar_type(), [&](auto element) {
    using T = decltype(element);
    forEach(y.device(), y.numel() / 4,
            kernels::Epilogue<T>{y.data_ptr<T>(), bias_.data_ptr<T>(), added.defined() ? added.data_ptr<T>() : nullptr,
                                 y.size(1), relu});
  });
  return y;
}

at::Tensor Convolution::operator()(const at::Tensor& x, bool relu) const {
  if (winograd_) return (*winograd_)(x, relu);
  if (!runsOnHost(x)) return finished(x, {}, relu);
  if (packed_.defined())
    return operators()->unary.call(x, packed_, bias_, {padding_, padding_}, {stride_, stride_}, {1, 1}, 1,
                                   relu ? "relu" : "none", Scalars(), std::nullopt);
  const at::Tensor y = at::conv2d(x, weight_, bias_, stride_, padding_);
  return relu ? y.relu_() : y;
}

at::Tensor Convolution::addRelu(const at::Tensor& x, at::Tensor residual) const {
  if (winograd_) return winograd_->addRelu(x, residual);
  if (!runsOnHost(x)) return finished(x, residual, /*relu=*/true);
  if (!packed_.defined()) return residual.add_(at::conv2d(x, weight_, bias_, stride_, padding_)).relu_();
  return operators()->binary.call(residual, x, packed_, bias_, {padding_, padding_}, {stride_, stride_}, {1, 1}, 1,
                                  "add", std::nullopt, "relu", Scalars(), std::nullopt);
}

}  // namespace ssn

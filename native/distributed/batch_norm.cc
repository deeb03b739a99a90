#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "distributed/group.h"

namespace ssn {
namespace {

// y = sum over the ranks of x. The loss is a sum over the ranks too, and every rank's depends on y: dL/dx is the sum of
// all dL/dy.
struct DifferentiableSum : torch::autograd::Function<DifferentiableSum> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& values, int64_t group) {
    context->saved_data["group"] = group;
    return sumOverRanks(values, reinterpret_cast<Group*>(group));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradient) {
    return {sumOverRanks(gradient[0], reinterpret_cast<Group*>(context->saved_data["group"].toInt())), {}};
  }
};

at::Tensor differentiableSum(const at::Tensor& values, Group& group) {
  return DifferentiableSum::apply(values, reinterpret_cast<int64_t>(&group));
}

}  // namespace

at::Tensor sumOverRanks(const at::Tensor& values, Group* group) {
  if (group == nullptr) return values;
  at::NoGradGuard guard;
  at::Tensor local =
      values.to(at::TensorOptions().device(at::kCPU).dtype(at::kDouble), false, /*copy=*/true).contiguous();
  group->sum(local);
  return local.to(values.options());
}

at::Tensor batchNormOverRanks(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                              at::Tensor runningMean, at::Tensor runningVar, double momentum, double eps,
                              Group& group) {
  double count = static_cast<double>(x.size(0) * x.size(2) * x.size(3));
  group.sum(&count, 1);
  const auto perChannel = [&](const at::Tensor& values) { return values.view({1, -1, 1, 1}); };
  const at::Tensor mean = differentiableSum(x.sum({0, 2, 3}), group) / count;
  const at::Tensor deviation = x - perChannel(mean);
  const at::Tensor variance = differentiableSum(deviation.square().sum({0, 2, 3}), group) / count;
  {
    at::NoGradGuard guard;
    runningMean.mul_(1.0 - momentum).add_(mean, momentum);
    runningVar.mul_(1.0 - momentum).add_(variance, momentum * count / (count - 1.0));
  }
  return deviation * perChannel((variance + eps).rsqrt() * weight) + perChannel(bias);
}

}  // namespace ssn

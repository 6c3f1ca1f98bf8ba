"""Batch normalisation over the photos of several processes; torch has it for CUDA alone.

Ioffe & Szegedy 2015 (arXiv:1502.03167), its means taken over all processes: a training on two
processes with half a batch each is that of one process with the whole batch, up to rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import batch_norm

from lesionseg.distributed import all_reduce


def convert_sync_batchnorm(network: nn.Module) -> nn.Module:
    """Convert a network to batch normalisation over the photos of all processes, in place.

    Names and weights stay as they are.
    """
    if next(network.parameters()).device.type == "cuda":
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return synchronised
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SyncBatchNorm.of(child))
    return network


class SyncBatchNorm(nn.BatchNorm2d):
    """Take the place of a batch normalisation, with the same weights and names."""

    @classmethod
    def of(cls, plain: nn.BatchNorm2d) -> "SyncBatchNorm":
        """Wrap `plain`, and share its parameters and buffers."""
        shared = cls(plain.num_features, plain.eps, plain.momentum)
        for name, value in plain.named_parameters():
            shared.register_parameter(name, value)
        for name, buffer in plain.named_buffers():
            shared.register_buffer(name, buffer)
        return shared.train(plain.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, h, w) float over all processes; B may differ between them."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        channels, size = x.shape[1], x.numel() // x.shape[1]
        with torch.no_grad():
            # This process's own, by torch's pass, three times as fast as `var_mean`; in float32
            # where it is given running ones of that kind.
            mean, variance = torch.batch_norm_update_stats(
                x, torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var), 0.0
            )
            # About the running mean, so that no digits are lost where a mean is far from 0.
            shift = mean - self.running_mean
            squares = variance + shift**2
            sums = torch.cat([shift, squares, torch.ones_like(shift[:1])]) * size
            all_reduce(sums)
            first, second, count = sums[:channels], sums[channels:-1], sums[-1]
            shift = first / count
            variance = (second / count - shift**2).clamp(min=0)
            mean = self.running_mean + shift
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum or 0.0)
            self.num_batches_tracked.add_(1)
        arguments = (x, self.weight, self.bias, mean, variance, count, self.eps)
        result: Tensor = _Normalise.apply(*arguments)  # type: ignore[no-untyped-call]
        return result


class _Normalise(Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, where mean and variance depend on the x of
    every process."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        x, weight, bias, mean, variance, count, eps = arguments
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        return batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        """Compute the gradients (Ioffe & Szegedy, section 3), both sums over all processes."""
        x, weight, mean, variance, count = ctx.saved_tensors
        (slope,) = slopes
        # As if mean and variance were constants: the slopes of x and the two sums of this process.
        for_x, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(
            slope, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        means = all_reduce(torch.cat([for_bias, for_weight])) / count
        mean_slope, mean_product = means.chunk(2)
        scale = (variance + ctx.eps).rsqrt()
        # What mean and variance add: weight * scale * (mean_slope + normal * mean_product), a line
        # in x.
        steepness = weight * scale**2 * mean_product
        height = weight * scale * mean_slope - steepness * mean

        def wide(values: Tensor) -> Tensor:
            return values.view(1, -1, 1, 1)

        for_x = for_x.float().sub_(wide(height)).addcmul_(x.float(), wide(steepness), value=-1)
        return for_x.to(x.dtype), for_weight, for_bias, None, None, None, None

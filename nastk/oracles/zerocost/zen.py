"""zen: how much the features change under a small change of the input (Lin et al., Zen-NAS, ICCV 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nastk.oracles.zerocost._pass import NORMALISED, Pass
from nastk.oracles.zerocost.base import Proxy, Undefined

MIX = 1e-2
"""Size of the change of the input, relative to unit Gaussian noise: the 0.01 of the definition."""


class Zen(Proxy):
    """``log E|f(x) - f(x + 0.01 e)| + sum over batch normalisations of log sqrt(mean variance)``.

    Weights and inputs are Gaussian; f are the last features before global pooling.
    """

    alone = True

    def __call__(self, run: Pass) -> float:
        model, generator = run.model, run.generator
        if not run.images.is_floating_point():
            raise Undefined("tokens cannot be perturbed")
        try:
            with torch.no_grad():
                for module in run.layers:
                    weight: Tensor = module.weight  # type: ignore[assignment]
                    weight.copy_(torch.randn(weight.shape, generator=generator))
                    if isinstance(module.bias, Tensor):
                        module.bias.zero_()
                for module in model.modules():
                    if isinstance(module, NORMALISED) and module.affine:
                        module.weight.fill_(1.0)
                        module.bias.zero_()
                x = torch.randn(run.images.shape, generator=generator).to(run.images)
                change = torch.randn(run.images.shape, generator=generator).to(run.images)
                first, variances = self._features(model, x)
                second, _ = self._features(model, x + MIX * change)
        finally:
            run.restore()
        difference = float((first - second).abs().flatten(1).sum(dim=1).mean())
        if not difference > 0 or not math.isfinite(difference):
            raise Undefined("the features do not depend on the input, or overflow")
        return math.log(difference) + 0.5 * sum(math.log(v) for v in variances if v > 0)

    @staticmethod
    def _features(model: nn.Module, x: Tensor) -> tuple[Tensor, list[float]]:
        """The last feature maps (the input of global pooling, or the output of the last layer with maps), and the mean
        variance of the input of each batch normalisation."""
        maps: list[Tensor] = []
        pooled: list[Tensor] = []
        variances: list[float] = []

        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, NORMALISED):
                dims = [d for d in range(inputs[0].ndim) if d != 1]
                variances.append(float(inputs[0].var(dim=dims, unbiased=False).mean()))
            if isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool3d)):
                pooled.append(inputs[0])
            elif isinstance(output, Tensor) and output.ndim > 2:
                maps[:] = [output]

        hooks = [m.register_forward_hook(look) for m in model.modules() if not list(m.children())]
        try:
            model(x)
        finally:
            for hook in hooks:
                hook.remove()
        found = pooled or maps
        if not found:
            raise Undefined("the network has no feature maps")
        return found[-1].clone(), variances

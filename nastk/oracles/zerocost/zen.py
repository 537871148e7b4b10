"""zen: how much the features change under a small change of the input (Lin et al., Zen-NAS, ICCV 2021)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from nastk.oracles._calls import CONVOLUTIONS, PRODUCTS, Call, Layers, parameter
from nastk.oracles.zerocost._pass import Pass, trainable
from nastk.oracles.zerocost.base import Proxy, Undefined

MIX = 1e-2
"""Size of the change of the input, relative to unit Gaussian noise: the 0.01 of the definition."""

_REDUCTIONS = frozenset({"mean", "sum", "amax", "max", "logsumexp"})
_WINDOWS = frozenset(
    f"{kind}_pool{d}d" for kind in ("avg", "max", "lp", "adaptive_avg", "adaptive_max") for d in (1, 2, 3)
)
_FEATURES = CONVOLUTIONS | PRODUCTS | {"linear"}
"""Functions that make features, so that none of them is a pooling of features."""


class Zen(Proxy):
    """``log E|f(x) - f(x + 0.01 e)| + sum over batch normalisations of log sqrt(mean variance)``.

    Weights and inputs are Gaussian; f are the last features before global pooling (or flattening) on the way to the
    logits, or the network's output if that has places. Weights are drawn in the order of the network's parameters.
    """

    alone = True

    def __call__(self, run: Pass) -> float:
        model, generator = run.model, run.generator
        if not run.images.is_floating_point():
            raise Undefined("tokens cannot be perturbed")
        try:
            with torch.enable_grad():
                ran = _Run()
                pooling = ran.features(run, run.images[:2])[1]
            _randomise(model, ran, generator)
            x = torch.randn(run.images.shape, generator=generator).to(run.images)
            change = torch.randn(run.images.shape, generator=generator).to(run.images)
            with torch.no_grad():
                first = _Run(pooling)
                difference = first.features(run, x)[0] - _Run(pooling).features(run, x + MIX * change)[0]
        finally:
            run.restore()
        distance = float(difference.abs().flatten(1).sum(dim=1).mean())
        if not distance > 0 or not math.isfinite(distance):
            raise Undefined("the features do not depend on the input, or overflow")
        return math.log(distance) + 0.5 * sum(math.log(v) for v in first.variances if v > 0)


def _randomise(model: nn.Module, ran: _Run, generator: torch.Generator) -> None:
    """Gaussian weights of layers, no biases, batch normalisations without scale and shift."""
    weights = [parameter(w) for w in trainable(ran.found)]
    if None in weights:
        raise Undefined("the weights of a layer are computed from others, so that they cannot be drawn")
    drawn = {id(w) for w in weights}
    with torch.no_grad():
        for w in model.parameters():
            if id(w) in drawn:
                w.copy_(torch.randn(w.shape, generator=generator))
        for bias in (*(b for layer in ran.found for b in layer.biases), *ran.shifts):
            bias.zero_()
        for scale in ran.scales:
            scale.fill_(1.0)


class _Run(Layers):
    """Layers, batch normalisations, and the places where features are pooled.

    Args:
        pooling: number of the pooling whose input is to be kept; 0 for none.

    Attributes:
        variances: mean variance of the input of each batch normalisation.
        scales, shifts: their parameters.
    """

    def __init__(self, pooling: int = 0):
        super().__init__()
        self._pooling = pooling
        self._kept: Tensor | None = None
        self.variances: list[float] = []
        self.scales: list[Tensor] = []
        self.shifts: list[Tensor] = []
        self._poolings, self._dimensions = 0, 0
        self._last = WeakTensorKeyDictionary()  # number of the last pooling that a tensor depends on
        self._unpooled = WeakTensorKeyDictionary()  # what a tensor was before some of its dimensions were reduced

    def features(self, run: Pass, x: Tensor) -> tuple[Tensor, int]:
        """The features of inputs `x`, and the number of the pooling whose input they are (0: they are the output)."""
        self._dimensions = x.ndim
        output = run.run(x, self)
        if self._kept is not None:
            return self._kept, self._pooling
        if not _is_vector(output):
            return output.clone(), 0
        number = self._last.get(output, 0)
        if number == 0 or self._pooling:
            raise Undefined("the network has no feature maps")
        return output, number

    def run(self, call: Call) -> Any:
        if call.name == "batch_norm":
            self._read_normalisation(call)
        inputs = call.tensors
        output = call.run()
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if not inputs or not outputs:
            return output
        x, last = inputs[0], max(self._last.get(t, 0) for t in inputs)
        if call.name not in _FEATURES and _pools(call, x, outputs[0], pooled=last > 0):
            self._poolings += 1
            last = self._poolings
            if last == self._pooling:
                self._kept = self._unpooled.get(x, x).clone()
        elif call.name in _REDUCTIONS and x.ndim <= self._dimensions and _reduces_places(x, outputs[0]):
            self._unpooled[outputs[0]] = self._unpooled.get(x, x)
        for tensor in outputs:
            self._last[tensor] = last
        return output

    def _read_normalisation(self, call: Call) -> None:
        x, scale, shift = call.get("input"), call.get("weight"), call.get("bias")
        dimensions = [d for d in range(x.ndim) if d != 1]
        with torch.no_grad():
            self.variances.append(float(x.var(dim=dimensions, unbiased=False).mean()))
        self.scales += [] if scale is None else [scale]
        self.shifts += [] if shift is None else [shift]


def _pools(call: Call, x: Tensor, output: Tensor, pooled: bool) -> bool:
    """Whether a call reduces features that have places to one vector an image: by pooling or by flattening."""
    if x.ndim < 3 or output.ndim < 2 or output.shape[0] != x.shape[0] or not _is_vector(output):
        return False
    if call.name in _WINDOWS or call.name in _REDUCTIONS:
        size = output.numel() // len(output)
        return size == x.shape[1] or (size == x.shape[-1] and not _is_vector(x))  # channels first, or last
    return output.ndim == 2 and not (pooled and _is_vector(x))


def _reduces_places(x: Tensor, output: Tensor) -> bool:
    """Whether some of the last dimensions are gone, but neither images nor channels."""
    left = tuple(size for size in output.shape if size > 1)
    return 2 <= len(left) < x.ndim and left == x.shape[: len(left)]


def _is_vector(x: Tensor) -> bool:
    """Whether there is one vector an image, ``(b, c)`` or ``(b, c, 1, 1)``."""
    return sum(size > 1 for size in x.shape[1:]) <= 1

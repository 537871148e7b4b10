"""Parameters and multiply-adds as free oracles, from a closed form or counted in the built network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.errors import InvalidValue, NastkError, UnknownName
from nastk.evaluation import reason_of
from nastk.oracles.base import Evaluation, Oracle, exact
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch

COUNTED = ("params", "flops")
"""The counts of :func:`count_network`."""


class Count(Oracle):
    """A count of the network, exact and free.

    Uses `SearchSpace.statics` if the space has that closed form; otherwise builds each network (without weights where
    possible) and counts with :func:`count_network`. A network that cannot be built or run gets NaN.

    Args:
        space: whose networks to count.
        metric: "params", "flops", or another of the space's statics.
        build_options: of `SearchSpace.build` (classes, input size).

    Attributes:
        reasons: for architectures (as text) without a value, why.

    Raises:
        UnknownName: the space has no such count.
        Unsupported: without a closed form, a space that builds no networks or does not say what they take as input.
    """

    expensive = False
    unit = ""

    def __init__(self, space: SearchSpace, metric: str, **build_options: Any):
        known = space.statics(space.sample(1, 0), **build_options)
        self._closed_form = metric in known
        if not self._closed_form and metric not in COUNTED:
            raise UnknownName("count", metric, {*known, *COUNTED})
        if not self._closed_form:
            space.need_networks(metric)
        self.space, self.name, self.build_options = space, metric, build_options
        self.reasons: dict[str, str] = {}
        self.source = "closed form" if self._closed_form else "counted in the built network"

    @property
    def builds(self) -> bool:
        """Whether each network is built to be counted, as the space has no closed form."""
        return not self._closed_form

    def describe(self) -> dict[str, Any]:
        return {"oracle": "count", "metric": self.name, "direction": self.direction, **self.build_options}

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        if fidelity is not None:
            raise InvalidValue(f"{self.name} has no fidelities")
        if self._closed_form:
            return exact(self.space.statics(archs, **self.build_options)[self.name])
        return exact(np.array([self._count(arch) for arch in archs], dtype=np.float64))

    def _count(self, arch: Archs) -> float:
        from nastk.spaces._networks import without_memory

        try:
            return without_memory(lambda: self._counted(arch))
        except NastkError:
            raise
        except (Exception, SystemExit) as error:
            self.reasons[self.space.format(arch)] = reason_of(error)
            return float("nan")

    def _counted(self, arch: Archs) -> int:
        from nastk.spaces._networks import build_network

        network = build_network(self.space, arch, **self.build_options)
        return count_network(network, self.space.input_shape(**self.build_options))[self.name]


class Params(Count):
    """Number of parameters, free; see :class:`Count`.

    Args:
        space, build_options: see :class:`Count`.
    """

    def __init__(self, space: SearchSpace, **build_options: Any):
        super().__init__(space, "params", **build_options)


class Flops(Count):
    """Multiply-adds of one input, free; see :class:`Count` and, for what counts, :func:`count_network`.

    Args:
        space, build_options: see :class:`Count`.
    """

    def __init__(self, space: SearchSpace, **build_options: Any):
        super().__init__(space, "flops", **build_options)


def count_network(module: torch.nn.Module, inputs: tuple[int, ...] | torch.Tensor) -> dict[str, int]:
    """Parameters and multiply-adds of any network that takes one tensor.

    The convention is the NAS benchmarks' (NAS-Bench-201's released counts): a multiply-add of a convolution, a linear
    layer or another matrix product (attention included) is one; the bias of a convolution or linear layer is one per
    output element, whether a module, a function or an addition adds it; normalisation, activations, pooling and other
    element-wise arithmetic are free. All parameters count, those of normalisation included; running statistics do not.

    Args:
        module: on any device, the meta device included; not modified.
        inputs: shape of one input, without the batch; or a batch of one, such as tokens.

    Returns:
        ``params`` and ``flops`` (multiply-adds of one input).
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from nastk.oracles._calls import Layers

    parameter = next(module.parameters(), torch.empty(0))
    x = inputs
    if not isinstance(x, torch.Tensor):
        x = torch.zeros((1, *x), device=parameter.device, dtype=parameter.dtype)
    modes = [(part, part.training) for part in module.modules()]
    layers = Layers()
    try:
        module.eval()
        # other kernels of attention hide matrix products
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), layers:
            module(x)
    finally:
        for part, training in modes:
            part.training = training
    biases = sum(layer.bias_size for layer in layers.found)
    return {"params": sum(p.numel() for p in module.parameters()), "flops": counter.get_total_flops() // 2 + biases}

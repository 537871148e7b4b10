"""Networks as oracles, supernets and exports build them: with the weights of lazy modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from nastk.errors import NastkError, Unsupported
from nastk.spaces.base import Archs, SearchSpace

Answer = TypeVar("Answer")


def build_network(space: SearchSpace, arch: Archs, **options: Any) -> nn.Module:
    """The network of an architecture ``(d,)``, its weights drawn from PyTorch's random state.

    Lazy modules take their shapes from a forward pass of zeros, where the space knows the shape of an input.

    Raises:
        Exception: whatever the network's constructor or forward pass raises.
    """
    network = space.build(arch, **options)
    if is_lazy(network):
        try:
            inputs = blank_inputs(space, 2, **options)
        except Unsupported:
            return network  # its first input gives it its shapes
        initialise(network, inputs)
    return network


def blank_inputs(space: SearchSpace, batch: int, **options: Any) -> Tensor:
    """A batch ``(batch, ...)`` of zeros as the networks of a space take them: numbers, or tokens.

    Raises:
        Unsupported: the space does not say what they take.
    """
    kind = torch.float32 if space.vocabulary(**options) is None else torch.long
    return torch.zeros((batch, *space.input_shape(**options)), dtype=kind)


def without_memory(work: Callable[[], Answer]) -> Answer:
    """Do something with networks on the meta device, where weights take no memory and nothing is computed.

    A network that depends on values, which meta tensors lack, is then built and run; one that fails does so again.
    """
    try:
        with torch.device("meta"):
            return work()
    except NastkError:
        raise
    except Exception:
        return work()


def is_lazy(network: nn.Module) -> bool:
    """Whether some weights have no shape yet (``nn.LazyLinear`` and the like before their first input)."""
    return any(
        isinstance(t, (UninitializedParameter, UninitializedBuffer))
        for t in (*network.parameters(), *network.buffers())
    )


def initialise(network: nn.Module, inputs: Tensor) -> None:
    """Give lazy modules their shapes by one forward pass in evaluation mode, which leaves running statistics alone."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        with torch.no_grad():
            network(inputs)
    finally:
        for module, training in modes:
            module.training = training


def set_statistics(network: nn.Module, inputs: Tensor) -> None:
    """Give batch normalisation the statistics of these inputs, in place; the network stays in evaluation mode.

    An untrained network has none, and in evaluation mode the signal of a deep one then vanishes: its outputs are the
    biases of the last layer, whatever runs it and in whatever precision, and there is nothing left to compare.

    Args:
        network: in evaluation mode.
        inputs: several examples.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    before = [(m, m.momentum, {name: t.clone() for name, t in m.named_buffers(recurse=False)}) for m in norms]
    try:
        for m in norms:
            m.train()
            m.momentum = 1.0  # of the last batch alone
        with torch.no_grad():
            network(inputs)
    except Exception:  # one that cannot take several examples at once, or whose normalisation sees a single value
        for m, _, buffers in before:
            for name, value in buffers.items():
                getattr(m, name).copy_(value)
    finally:
        for m, momentum, _ in before:
            m.momentum = momentum
            m.eval()

"""Networks as oracles, supernets and exports build them: with the weights of lazy modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def recalibrate(network: nn.Module, batches: Sequence[Tensor]) -> None:
    """Give batch normalisation the mean statistics of these batches, in place; leave the network in evaluation mode.

    Without it the running statistics of a supernet are those of all paths that were trained, and rank noise; those of a
    short training are still on their way from where they began.

    Args:
        batches: inputs, ``(b, ...)`` each.
    """
    norms = _with_statistics(network)
    network.eval()
    if not norms:
        return
    before = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the mean over the batches
        m.train()
    try:
        with torch.no_grad():
            for x in batches:
                network(x)
    finally:
        for m, momentum in zip(norms, before, strict=True):
            m.momentum = momentum
            m.eval()


def set_statistics(network: nn.Module, inputs: Tensor) -> None:
    """Give batch normalisation the statistics of these inputs where they have some, in place; in evaluation mode.

    An untrained network has none, and in evaluation mode the signal of a deep one then vanishes: its outputs are the
    biases of the last layer, whatever runs it and in whatever precision, and there is nothing left to compare.

    Args:
        inputs: several examples.
    """
    buffers = [buffer for m in _with_statistics(network) for buffer in m.buffers(recurse=False)]
    before = [buffer.clone() for buffer in buffers]
    try:
        recalibrate(network, [inputs])
    except Exception:  # one that cannot take several examples at once, or whose normalisation sees a single value
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)


def _with_statistics(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch normalisations that keep running statistics."""
    norms = (m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return [m for m in norms if m.track_running_stats]

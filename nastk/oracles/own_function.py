"""Accuracy by a user's own function, brought by its path: ``nastk search --accuracy my_file.py:train``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from nastk.errors import InvalidValue
from nastk.oracles._intermediate import Arguments, Curve, train
from nastk.oracles._weights import Untouched
from nastk.oracles.base import FunctionOracle
from nastk.registry import load_object
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    from torch import nn

NETWORK_ARGUMENTS = ("network", "model")
"""A user's function whose first argument has one of these names is called with the built network instead of the row."""


def accuracy_function(
    space: SearchSpace, path: str, epochs: Sequence[float], seed: int, weights: bool = True
) -> FunctionOracle:
    """The accuracy (in %, maximised) that a user's function gives an architecture's integers or its built network.

    It may also yield ``epoch, accuracy``, and have arguments called ``report`` and ``folder``; see
    :class:`FunctionOracle`.

    Weights are kept of a network that it trains in place, and those that it returns behind the accuracy.

    Args:
        space: whose architectures it takes.
        path: ``file.py:function``. Where its first argument has one of the names in :data:`NETWORK_ARGUMENTS`, it is
            given the built network.
        epochs: that it is given as ``epochs``, or at which it is ended, ascending; the last is what counts.
        seed: random seed of the network's weights and of what the function draws.
        weights: keep the weights of trained networks, where a search or the user says where.

    Raises:
        InvalidValue: no such function, or it does not fit `epochs`.
        Unsupported: it takes the network, and the space builds none.
    """
    function = load_object(path)
    if not callable(function):
        raise InvalidValue(f"--accuracy {path} is a {type(function).__name__}, not a function")
    arguments = _arguments(function)
    asked = Arguments.of(function)
    takes = _takes_epochs(arguments, asked)
    if epochs and takes is None and not asked.told:
        raise InvalidValue(
            f"--epochs: {path} does not take `epochs` as its second argument, yields no `epoch, accuracy`, and has no "
            "argument `report`"
        )
    if not epochs and takes is not None and takes.default is takes.empty:
        raise InvalidValue(f"{path} takes `epochs`: say for how many, such as --epochs 5,50")
    kind, own = FunctionOracle, function
    if arguments and arguments[0].name in NETWORK_ARGUMENTS:
        space.need_networks(f"the function {path}")
        kind, own = FunctionOfNetwork, _OfNetwork(function, space, seed)
    return kind(
        space, own, "accuracy", "%", "max", one_by_one=True, per_network=True, fidelities=tuple(epochs), weights=weights
    )


def _takes_epochs(arguments: list[Parameter], asked: Arguments) -> Parameter | None:
    """The argument `epochs` of a function: its second, or anywhere behind its first beside what it is given by name."""
    named = asked.folder or asked.told
    return next((p for p in (arguments[1:] if named else arguments[1:2]) if p.name == "epochs"), None)


def _arguments(function: Any) -> list[Parameter]:
    """The arguments of a function; none of one that is written in C."""
    try:
        return list(signature(function).parameters.values())
    except ValueError:
        return []


class _OfNetwork:
    """A function of the built network as one of the architecture; `seed` is that of weights and training.

    A class and not a closure, so that it can be pickled for a worker process.
    """

    def __init__(self, function: Callable[..., Any], space: SearchSpace, seed: int):
        self.function, self.space, self.seed = function, space, seed
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__wrapped__ = function  # whose file and name identify it

    def build(self, arch: Archs) -> nn.Module:
        """The network of an architecture ``(d,)`` as the function gets it; PyTorch draws on from its seed."""
        import torch

        from nastk.spaces._networks import build_network

        torch.manual_seed(self.seed)
        return build_network(self.space, arch)

    def __call__(self, arch: Archs, *epochs: float, **named: Any) -> Any:
        return self.function(self.build(arch), *epochs, **named)


class FunctionOfNetwork(FunctionOracle):
    """A user's function of the built network; the weights of one that it trained in place are kept."""

    function: _OfNetwork

    def _trained(
        self, arch: Archs, positional: Sequence[Any], named: Mapping[str, Any], curve: Curve[float]
    ) -> tuple[Any, Any]:
        network = self.function.build(arch)
        before = Untouched(network) if self.weights and self._has_place else None
        answer = train(self.function.function, (network, *positional), named, curve, report=self._arguments.report)
        return answer, network if before is not None and before.changed(network) else None

    def _facts(self, arch: Archs) -> dict[str, Any]:
        return {**super()._facts(arch), "seed": self.function.seed}

"""Accuracy by a user's own function, brought by its path: ``nastk search --accuracy my_file.py:train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

from nastk.errors import InvalidValue
from nastk.oracles.base import FunctionOracle
from nastk.registry import load_object
from nastk.spaces.base import Archs, SearchSpace

NETWORK_ARGUMENTS = ("network", "model")
"""A user's function whose first argument has one of these names is called with the built network instead of the row."""


def accuracy_function(space: SearchSpace, path: str, epochs: Sequence[float], seed: int) -> FunctionOracle:
    """The accuracy (in %, maximised) that a user's function gives an architecture's integers or its built network.

    Args:
        space: whose architectures it takes.
        path: ``file.py:function``. Where its first argument has one of the names in :data:`NETWORK_ARGUMENTS`, it is
            given the built network.
        epochs: that it is given as its second argument, ascending; the last is what counts.
        seed: random seed of the network's weights and of what the function draws.

    Raises:
        InvalidValue: no such function, or it does not fit `epochs`.
        Unsupported: it takes the network, and the space builds none.
    """
    function = load_object(path)
    if not callable(function):
        raise InvalidValue(f"--accuracy {path} is a {type(function).__name__}, not a function")
    arguments = _arguments(function)
    second = arguments[1] if len(arguments) > 1 and arguments[1].name == "epochs" else None
    if epochs and second is None:
        raise InvalidValue(f"--epochs: {path} does not take `epochs` as its second argument")
    if not epochs and second is not None and second.default is second.empty:
        raise InvalidValue(f"{path} takes `epochs`: say for how many, such as --epochs 5,50")
    own: Callable[..., Any] = function
    if arguments and arguments[0].name in NETWORK_ARGUMENTS:
        space.need_networks(f"the function {path}")
        own = _OfNetwork(function, space, seed)
    return FunctionOracle(
        space, own, "accuracy", "%", "max", one_by_one=True, per_network=True, fidelities=tuple(epochs)
    )


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

    def __call__(self, arch: Archs, *epochs: float) -> Any:
        import torch

        from nastk.oracles._networks import build_network

        torch.manual_seed(self.seed)
        return self.function(build_network(self.space, arch), *epochs)

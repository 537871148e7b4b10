"""What the training of a supernet needs of memory, by looking at networks without weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nastk.errors import NastkError, Unsupported
from nastk.spaces._networks import blank_inputs, without_memory
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets._sharing import _Names, kind_of

BYTES = 4
"""Of a number in float32."""

COPIES = 4
"""Of each weight: itself, its gradient, and the two running means of Adam."""


@dataclass(frozen=True)
class Memory:
    """An estimate.

    Args:
        weights: numbers in the shared weights.
        activations: numbers that the modules of the largest network put out, for one batch.
        batch: images in it.
    """

    weights: int
    activations: int
    batch: int

    @property
    def bytes(self) -> int:
        return BYTES * (COPIES * self.weights + self.activations)

    def __str__(self) -> str:
        return (
            f"about {amount(self.bytes)}: {self.weights:,} shared weights with gradients and Adam's two means, and "
            f"activations of the largest network for {self.batch} images"
        )


def amount(number: float) -> str:
    """Bytes in words, such as "12 MB"."""
    power = min(max(int(math.log10(max(number, 1.0)) // 3), 1), 3)
    return f"{number / 1000**power:.3g} {('kB', 'MB', 'GB')[power - 1]}"


def estimate(space: SearchSpace, batch: int, **build_options: Any) -> Memory:
    """What a training of the shared weights of a space needs, in one process.

    Each option of each choice is looked at, with the largest of those before it; what only another combination has is
    missed.

    Args:
        batch: images of a step.
        build_options: of `SearchSpace.build`.

    Raises:
        Unsupported: no network of the space can be built.
    """
    sizes: dict[tuple[str, str], tuple[int, ...]] = {}
    largest, base = _largest(space, sizes, build_options)

    def activations(arch: Archs) -> int:
        return _activations(space, arch, batch, build_options)

    for arch in (largest, base):  # combinations that cannot be run are members of some spaces
        try:
            most = without_memory(lambda arch=arch: activations(arch))  # type: ignore[misc]
        except NastkError:
            raise
        except Exception:
            continue
        return Memory(sum(int(np.prod(shape)) for shape in sizes.values()), most, batch)
    raise Unsupported(f"{space.name}: its networks cannot be run")


def _largest(
    space: SearchSpace, sizes: dict[tuple[str, str], tuple[int, ...]], options: Mapping[str, Any]
) -> tuple[Archs, Archs]:
    """The network of the largest option of each choice, and the one it was found from; `sizes` takes the largest shape
    of each weight, by its name and kind of module."""
    base = next(
        (a for a in space.sample(20, np.random.default_rng(0)) if _look(space, a, sizes, options) is not None), None
    )
    if base is None:
        raise Unsupported(f"{space.name}: of 20 networks none can be built")
    best, waiting = base.copy(), list(range(space.d))
    for _ in range(2):  # what a shallow network does not choose is looked at in a deep one
        active = []
        for choice in waiting:
            if space.active(best[None])[0, choice]:
                active.append(choice)
                _enlarge(space, best, choice, sizes, options)
        waiting = [choice for choice in waiting if choice not in active]
    return best, base


def _enlarge(
    space: SearchSpace,
    best: Archs,
    choice: int,
    sizes: dict[tuple[str, str], tuple[int, ...]],
    options: Mapping[str, Any],
) -> None:
    """Give a choice of `best` ``(d,)`` the option with the most weights, in place, having looked at all."""
    found: dict[int, int] = {}
    for option in range(space.sizes[choice]):
        other = best.copy()
        other[choice] = option
        count = _look(space, other, sizes, options) if space.is_valid(other[None])[0] else None
        if count is not None:
            found[option] = count
    best[choice] = max(found, key=lambda option: found[option])


def _look(
    space: SearchSpace, arch: Archs, sizes: dict[tuple[str, str], tuple[int, ...]], options: Mapping[str, Any]
) -> int | None:
    """Take the shapes of a network's weights; how many numbers they are, None where it cannot be built."""
    try:
        with torch.random.fork_rng(devices=[]), _Names() as names:
            network = without_memory(lambda: space.build(arch, **options))
    except NastkError:
        raise
    except Exception:
        return None
    total = 0
    for path, module in network.named_modules():
        kind = kind_of(module)
        for name, parameter in module.named_parameters(recurse=False):
            shape, key = tuple(parameter.shape), (names.of(f"{path}.{name}", parameter), kind)
            total += int(np.prod(shape))
            if len(sizes.get(key, shape)) == len(shape):
                sizes[key] = tuple(max(pair) for pair in zip(sizes.get(key, shape), shape, strict=True))
    return total


def _activations(space: SearchSpace, arch: Archs, batch: int, options: Mapping[str, Any]) -> int:
    """Numbers that a network's modules without modules in them put out for one batch."""
    total = 0

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel()

    network = space.build(arch, **options)
    for module in network.modules():
        if not any(True for _ in module.children()):
            module.register_forward_hook(note)
    with torch.no_grad():
        network(blank_inputs(space, batch, **options))
    return total


def available(device: torch.device) -> int:
    """Bytes of memory that are free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)

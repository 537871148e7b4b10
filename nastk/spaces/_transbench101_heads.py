"""The seven tasks of TransNAS-Bench-101 and three small-image tasks: input, head and their counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log2
from typing import NamedTuple

from nastk.errors import UnknownName

STEM = 64
"""Output channels of the stem."""
TILES = 9
"""Tiles of a jigsaw puzzle; each passes through the network separately."""


@dataclass(frozen=True)
class Task:
    """Input and output of a task's networks.

    Args:
        head: "classify", "jigsaw", "segment" or "generate".
        outputs: classes, numbers or channels of the output.
        image: channels, height and width of one input (of one tile for the jigsaw).
        modules: types of the modules of the micro skeleton.
        strided: whether the stem halves the resolution twice.
    """

    head: str
    outputs: int
    image: tuple[int, int, int] = (3, 256, 256)
    modules: str = "41414"
    strided: bool = True


TASKS = {
    "class_scene": Task("classify", 63),
    "class_object": Task("classify", 100),
    "room_layout": Task("classify", 9),
    "jigsaw": Task("jigsaw", 1000, (3, 64, 64)),
    "segmentsemantic": Task("segment", 17),
    "normal": Task("generate", 3),
    "autoencoder": Task("generate", 3),
    "svhn": Task("classify", 10, (3, 32, 32), "414", False),
    "ninapro": Task("classify", 18, (1, 16, 52), "414", False),
    "scifar100": Task("classify", 100, (3, 60, 60), "414", False),
}
"""Tasks by name. Outputs, modules and stems were chosen to reproduce NAS-Bench-Suite-Zero's numbers of parameters."""
SEVEN = tuple(name for name, task in TASKS.items() if task.strided)
"""The benchmark's tasks."""
THREE = tuple(name for name in TASKS if name not in SEVEN)
"""The small-image tasks of NAS-Bench-Suite-Zero."""


def task_of(name: str, known: tuple[str, ...] = tuple(TASKS)) -> Task:
    """The task called `name`.

    Raises:
        UnknownName: no such task.
    """
    if name not in known:
        raise UnknownName("task", name, known)
    return TASKS[name]


def input_shape(task: Task) -> tuple[int, ...]:
    """Shape of one input without the batch; for the jigsaw including its tiles."""
    return (TILES, *task.image) if task.head == "jigsaw" else task.image


class Conv(NamedTuple):
    """One 3x3 convolution of a decoder: channels, and whether it is transposed and doubles the resolution."""

    c_in: int
    c_out: int
    up: bool = False


def decoder(task: Task, channels: int, side: int) -> list[Conv]:
    """The convolutions of a decoder from features of `channels` channels and side `side` to an image.

    The generator has thirteen layers and an output layer; of the last ones, every second one doubles the resolution.
    (In Taskonomy's, Zamir et al., CVPR 2018, the second layer also halves it; the benchmark's released code does not.)
    The segmenter has seven layers, of which the last ones double the resolution, and an output layer.
    """
    doublings = round(log2(task.image[1] / side))
    if task.head == "generate":
        widths = [1024, 1024, 512, 512, 256, 128, 64, 64, 32, 32, 16, 32, 16]
        room = [2, 4, 6, 8, 10, 12]
        up = room[len(room) - doublings :]
    else:
        widths = [1024, 512, 256, 128, 64, 32, 32]
        up = list(range(len(widths) - doublings, len(widths)))
    ends = zip([channels, *widths[:-1]], widths, strict=True)
    layers = [Conv(c_in, c_out, i in up) for i, (c_in, c_out) in enumerate(ends)]
    return [*layers, Conv(widths[-1], task.outputs)]


@lru_cache(maxsize=256)
def head_counts(task: Task, channels: int, sides: tuple[int, int]) -> tuple[int, int]:
    """Parameters and multiply-adds of a head on features with these channels and sides."""
    if task.head in ("classify", "jigsaw"):
        features = channels * (TILES if task.head == "jigsaw" else 1)
        return (features + 1) * task.outputs, (features + 1) * task.outputs
    params, flops, side = 0, 0, sides[0]
    layers = decoder(task, channels, side)
    for layer in layers:
        after = 2 * side if layer.up else side
        weights = 9 * layer.c_in * layer.c_out
        params += weights + layer.c_out + 2 * layer.c_out * (layer is not layers[-1])
        flops += weights * (side if layer.up else after) ** 2 + layer.c_out * after**2
        side = after
    return params, flops


def stem_counts(task: Task) -> tuple[int, int]:
    """Parameters and multiply-adds of the stem on one image or tile."""
    channels, height, width = task.image
    if not task.strided:
        return 9 * channels * STEM + 2 * STEM, 9 * channels * STEM * height * width
    half, first, second = STEM // 2, 9 * channels * (STEM // 2), 9 * (STEM // 2) * STEM
    flops = first * -(-height // 2) * -(-width // 2) + second * -(-height // 4) * -(-width // 4)
    return first + 2 * half + second + 2 * STEM, flops


def stem_sides(task: Task) -> tuple[int, int]:
    """Height and width of the output of the stem."""
    _, height, width = task.image
    return tuple(-(-side // 4) if task.strided else side for side in (height, width))  # type: ignore[return-value]

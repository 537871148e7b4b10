"""The seven tasks of TransNAS-Bench-101 and three small-image tasks: input, head and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nastk.errors import UnknownName

STEM = 64
"""Channels that the stem gives."""
TILES = 9
"""Tiles of a jigsaw puzzle; each goes through the network by itself."""


@dataclass(frozen=True)
class Task:
    """What a task wants of a network.

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
"""Outputs, modules and stems are those that give NAS-Bench-Suite-Zero's numbers of parameters."""
SEVEN = tuple(name for name, task in TASKS.items() if task.strided)
THREE = tuple(name for name in TASKS if name not in SEVEN)


def task_of(name: str, known: tuple[str, ...] = tuple(TASKS)) -> Task:
    """The task called `name`.

    Raises:
        UnknownName: no such task.
    """
    if name not in known:
        raise UnknownName("task", name, known)
    return TASKS[name]


def input_shape(task: Task) -> tuple[int, ...]:
    """One input, without the batch; of the jigsaw with its tiles."""
    return (TILES, *task.image) if task.head == "jigsaw" else task.image


@lru_cache(maxsize=256)
def head_counts(task: Task, channels: int, sides: tuple[int, int]) -> tuple[int, int]:
    """Parameters and multiply-adds of a head on features of so many channels and such sides."""
    import torch

    from nastk.oracles.counts import count_network
    from nastk.spaces._transbench101_network import head

    with torch.device("meta"):
        module = head(task, channels, sides)
    tiles = (TILES,) if task.head == "jigsaw" else ()
    counted = count_network(module, (*tiles, channels, *sides))
    return counted["params"], counted["flops"]


@lru_cache(maxsize=16)
def stem_counts(task: Task) -> tuple[int, int]:
    """Parameters and multiply-adds of the stem on one image or tile."""
    import torch

    from nastk.oracles.counts import count_network
    from nastk.spaces._transbench101_network import stem

    with torch.device("meta"):
        module = stem(task)
    counted = count_network(module, task.image)
    return counted["params"], counted["flops"]


def stem_sides(task: Task) -> tuple[int, int]:
    """Height and width of what the stem gives."""
    _, height, width = task.image
    return tuple(-(-side // 4) if task.strided else side for side in (height, width))  # type: ignore[return-value]

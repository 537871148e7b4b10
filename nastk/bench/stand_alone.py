"""Stand-alone trainings of a space's networks, kept on disk: what supernets are compared with.

Trainings are brief and images few, so that architectures differ and a hundred and fifty of them take minutes; networks
trained for longer differ less. Batch normalisation is judged with the statistics of the training images: the running
ones of so few steps are still on their way from where they began, and rank noise.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nastk.bench._journal import Journal, each_once
from nastk.bench.four_blocks import FourBlocks
from nastk.code import code_of
from nastk.data.images import ImageData, Part, read_images
from nastk.errors import InvalidValue
from nastk.evaluation import reason_of
from nastk.oracles._fitting import options_for
from nastk.spaces._networks import build_network, set_statistics
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.factory import space as named_space
from nastk.spaces.factory import space_of

Array = NDArray[np.float64]

FOUR_BLOCKS = "four-blocks"
"""Name of the space of :mod:`nastk.bench.four_blocks`."""

VALIDATED = 500
"""Images that supernets judge on; those that are neither for this nor for training judge stand-alone trainings."""

LEAST_JUDGED = 100
"""Images that must be left to judge on: an accuracy on fewer is noise."""

FILE = "trainings.jsonl"
"""Of finished trainings, one a line."""


@dataclass(frozen=True)
class Trainings:
    """How networks are trained, on what.

    Args:
        space: its name, ``file.py:Class``, or :data:`FOUR_BLOCKS`.
        data: see `nastk.data.images.read_images`.
        image_size: resize images to this side.
        train_images: to train on; :data:`VALIDATED` others are for supernets to judge on, and all that are left judge
            trainings.
        steps, batch: of a training, with AdamW and a cosine.
        rate, decay: its learning rate and weight decay.
        shift: training images are moved by up to this many pixels.
    """

    space: str = FOUR_BLOCKS
    data: str = "digits"
    image_size: int | None = None
    train_images: int = 300
    steps: int = 150
    batch: int = 64
    rate: float = 4e-3
    decay: float = 1e-2
    shift: int = 1

    def __post_init__(self) -> None:
        if self.train_images < 2 or self.steps < 1 or self.batch < 2 or not 0 < self.rate < math.inf:
            raise InvalidValue(
                f"a training takes 2 images, 1 step, batches of 2 and a positive learning rate; got "
                f"{self.train_images}, {self.steps}, {self.batch} and {self.rate}"
            )


@lru_cache(maxsize=2)
def images_of(setting: Trainings) -> ImageData:
    """The images of a setting, divided anew: all splits together, at random, always the same.

    Raises:
        InvalidValue: there are no such images, or too few.
    """
    data = read_images(setting.data, setting.image_size)
    parts = [part.tensors() for part in (data.training, data.validation, data.test)]
    images, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    least = setting.train_images + VALIDATED + LEAST_JUDGED
    if len(images) < least:
        raise InvalidValue(
            f"{data.name} has {len(images):,} images; {setting.train_images:,} to train on, {VALIDATED} for supernets "
            f"to judge on and {LEAST_JUDGED} to judge trainings on are {least:,}"
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    cuts = [0, setting.train_images, setting.train_images + VALIDATED, len(images)]
    rows = [order[a:b] for a, b in itertools.pairwise(cuts)]
    seen = images[rows[0]]
    mean, std = seen.mean((0, 2, 3), keepdim=True), seen.std((0, 2, 3), keepdim=True)
    images = (images - mean) / torch.where(std > 0, std, 1.0)
    training, validation, test = (Part.of(images[mine], labels[mine]) for mine in rows)
    return ImageData(data.name, training, validation, test, data.classes, data.shape, data.identity)


@lru_cache(maxsize=2)
def space_of_setting(setting: Trainings) -> tuple[SearchSpace, dict[str, Any]]:
    """The space, and options of `SearchSpace.build` with which its networks take the images."""
    data = images_of(setting)
    if setting.space == FOUR_BLOCKS:
        space: SearchSpace = space_of(FourBlocks, input_shape=data.shape, name=FOUR_BLOCKS)
        return space, {"in_channels": data.shape[0], "num_classes": len(data.classes)}
    space = named_space(setting.space)
    return space, options_for(space, data)


def identity_of(setting: Trainings) -> str:
    """What tells trainings of one setting from others, as a hash."""
    space, options = space_of_setting(setting)
    facts = asdict(setting) | {"space": space.identity(), "options": options, "images": images_of(setting).identity}
    if setting.space != FOUR_BLOCKS:  # a user's networks may change, and their choices not
        own = code_of(getattr(space, "network", type(space)))
        facts["code"] = None if own is None else own.digest
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trained:
    """What came of one training.

    Args:
        accuracy: %, on the images that judge; NaN where it failed.
        seconds: of the processor.
        reason: why it failed.
    """

    accuracy: float
    seconds: float
    reason: str = ""


Job = tuple[Trainings, tuple[int, ...], int]
"""Setting, architecture and seed."""


def train(job: Job) -> Trained:
    """Train one network; one that fails is no error, but has a reason."""
    setting, arch, seed = job
    space, options = space_of_setting(setting)
    data = images_of(setting)
    start = process_time()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            accuracy = _accuracy(setting, space, np.array(arch), options, data)
    except (Exception, SystemExit) as error:
        return Trained(math.nan, process_time() - start, reason_of(error))
    return Trained(accuracy, process_time() - start)


def _accuracy(
    setting: Trainings, space: SearchSpace, arch: Archs, options: Mapping[str, Any], data: ImageData
) -> float:
    network = build_network(space, arch, **options).train()
    images, labels = data.training.tensors()
    views = moved(images, setting.shift)
    optimiser = torch.optim.AdamW(network.parameters(), setting.rate, weight_decay=setting.decay, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, setting.steps)
    for _ in range(setting.steps):
        places = torch.randint(len(images), (min(setting.batch, len(images)),))
        view = views[int(torch.randint(len(views), ()))]
        optimiser.zero_grad()
        functional.cross_entropy(network(view[places]), labels[places]).backward()
        optimiser.step()
        schedule.step()
    network.eval()
    set_statistics(network, images)
    return accuracy_of(network, data.test)


def accuracy_of(network: torch.nn.Module, part: Part) -> float:
    """Accuracy of a network in evaluation mode on images, %."""
    right = 0
    with torch.inference_mode():
        for some, wanted in part.batches(VALIDATED):
            right += int((network(some).argmax(1) == wanted).sum())
    return 100.0 * right / len(part)


def moved(images: Tensor, most: int) -> list[Tensor]:
    """Images ``(n, channels, height, width)`` moved by up to `most` pixels up, down, left and right.

    What comes in from outside is as dark as the darkest pixel: a border of the mean would be an edge that no image has
    when the network is judged.
    """
    height, width = images.shape[-2:]
    padded = functional.pad(images, [most] * 4, value=float(images.min()))
    places = range(2 * most + 1)
    return [padded[..., down : down + height, right : right + width] for down in places for right in places]


def _written(trained: Trained) -> dict[str, Any]:
    return asdict(trained) | {"accuracy": trained.accuracy if math.isfinite(trained.accuracy) else None}


def _read(entry: Mapping[str, Any]) -> Trained:
    value = math.nan if entry["accuracy"] is None else float(entry["accuracy"])
    return Trained(value, float(entry["seconds"]), str(entry["reason"]))


def train_all(
    setting: Trainings,
    jobs: Sequence[tuple[tuple[int, ...], int]],
    folder: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Trained]:
    """Trainings of architectures with seeds, in their order; those that a folder keeps are not repeated."""
    identity = identity_of(setting)
    kept = Journal(None if folder is None else Path(folder) / FILE, _written, _read)

    def settings(job: Job) -> dict[str, Any]:
        return {"setting": identity, "arch": [int(v) for v in job[1]], "seed": job[2]}

    wanted = [(setting, arch, seed) for arch, seed in jobs]
    found = dict(each_once(train, list(dict.fromkeys(wanted)), kept, settings, workers, progress))
    return [found[job] for job in wanted]

"""The batch for zero-cost proxies: the user's, scikit-learn's digits, or noise."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nastk.data.images import ImageData
from nastk.errors import InvalidValue

KINDS = ("digits", "random")
"""Batches that need no data of the user's."""


def make_batch(
    batch: Any, size: int, shape: tuple[int, ...], classes: int, seed: int, vocabulary: int | None = None
) -> tuple[Tensor, Tensor]:
    """Images ``(b, *shape)`` and labels ``(b,)``, or tokens ``(b, t)`` and the next token of each.

    Args:
        batch: "digits" (scikit-learn's handwritten digits, upscaled; for networks that take series, pixel by pixel),
            "random" (Gaussian noise, or tokens drawn
            uniformly), or images and labels.
        size: number of images or token sequences, unless given.
        shape: of one image.
        classes: of the network; labels are taken modulo it.
        seed: random seed.
        vocabulary: number of tokens, for networks that take tokens.

    Raises:
        InvalidValue: no such kind, or images of another shape.
    """
    rng = np.random.default_rng(seed)
    if isinstance(batch, str):
        if batch not in KINDS:
            raise InvalidValue(f"the batch must be {' or '.join(KINDS)}, or images and labels; got {batch!r}")
        if vocabulary is not None and batch == "digits":
            raise InvalidValue("digits are images, the networks take tokens; use the batch 'random', or give tokens")
        if vocabulary is not None:
            tokens = torch.tensor(rng.integers(0, vocabulary, (size, *shape)))
            return tokens, tokens.roll(-1, dims=-1)
        if batch == "random":
            images = torch.tensor(rng.standard_normal((size, *shape)), dtype=torch.float32)
            return images, torch.tensor(rng.permutation(np.arange(size) % classes))
        return _digits(size, shape, classes, rng)
    images, labels = (torch.as_tensor(part) for part in batch)
    if tuple(images.shape[1:]) != shape or len(images) != len(labels):
        raise InvalidValue(
            f"the networks take images of shape {shape}; got images {tuple(images.shape)} and {len(labels)} labels"
        )
    return images, labels


def _digits(size: int, shape: tuple[int, ...], classes: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    if len(shape) not in (2, 3):
        raise InvalidValue(f"digits have channels, height and width, but the networks take {shape}; give a batch")
    data = load_digits()
    rows = rng.choice(len(data.images), size, replace=size > len(data.images))
    if len(shape) == 2:  # one pixel after another
        series = torch.tensor(data.data[rows][:, None], dtype=torch.float32)
        series = torch.nn.functional.interpolate(series, shape[1:], mode="linear", align_corners=False)
        series = (series - series.mean()) / series.std()
        return series.expand(-1, shape[0], -1).clone(), torch.tensor(data.target[rows] % classes)
    images = torch.tensor(data.images[rows][:, None], dtype=torch.float32)
    images = torch.nn.functional.interpolate(images, shape[1:], mode="bilinear", align_corners=False)
    images = (images - images.mean()) / images.std()
    return images.expand(-1, shape[0], -1, -1).clone(), torch.tensor(data.target[rows] % classes)


def draw(data: ImageData, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Different images of the training part, normalised, and their labels; all of them where it has no more."""
    rows = np.random.default_rng(seed).permutation(len(data.training))[:size]
    images, labels = data.training.batch(torch.as_tensor(rows))
    return images.float(), labels


def read_batch(path: str | Path) -> tuple[Tensor, Tensor]:
    """Images and labels of a NumPy file (.npz) with arrays of these names.

    Raises:
        InvalidValue: the file cannot be read, or lacks one.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            images, labels = content["images"], content["labels"]
            pictures = torch.as_tensor(images)
            return pictures.float() if images.ndim > 2 else pictures, torch.as_tensor(labels).long()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"{path} is not an .npz file with arrays 'images' and 'labels': {error}") from None


def describe(batch: Any, size: int) -> str:
    """Description of the batch for a value's source."""
    if isinstance(batch, str):
        return f"{size} {'handwritten digits' if batch == 'digits' else 'random images'}"
    images, labels = (torch.as_tensor(part) for part in batch)
    content = images.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes()
    return f"{len(images)} images of the user's ({hashlib.sha256(content).hexdigest()[:12]})"

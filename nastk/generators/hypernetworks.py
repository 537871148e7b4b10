"""Hypernetworks: from a preference and a device to the logits of every choice."""

from __future__ import annotations

from itertools import pairwise
from math import pi

import torch
from torch import Tensor, nn

from nastk.errors import InvalidValue, UnknownName
from nastk.generators.preferences import simplex_grid


class Hypernetwork(nn.Module):
    """Calling it with preferences ``(n, m)`` and device embeddings ``(n, e)`` answers logits ``(n, outputs)``.

    Fresh ones answer nearly equal logits, so that every architecture is about as likely.

    Args:
        objectives: m.
        embedding: e, length of a device's embedding.
        outputs: options of all choices together.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, objectives: int, embedding: int, outputs: int):
        super().__init__()
        if min(objectives, embedding, outputs) < 1:
            raise InvalidValue("a hypernetwork needs at least one objective, embedding and output")
        self.objectives, self.embedding, self.outputs = objectives, embedding, outputs
        self.register_buffer("centre", torch.full((embedding,), 0.5))
        self.register_buffer("spread", torch.tensor(0.5))

    def observe(self, devices: Tensor) -> None:
        """Take mean and spread of the training devices' embeddings ``(t, e)``, by which embeddings are standardised.

        Embeddings of devices resemble each other: what differs would hardly be seen beside what is common.
        """
        self.centre = devices.mean(0)
        if len(devices) > 1:
            self.spread = (devices - self.centre).square().mean().sqrt().clamp_min(1e-3)

    def standardised(self, devices: Tensor) -> Tensor:
        """Embeddings of mean about 0 and deviation about 1 over the training devices, outliers drawn in."""
        return ((devices - self.centre) / self.spread).clamp(-4, 4)


class Bank(Hypernetwork):
    """Tables of logits by preference, mixed by attention over the device embedding (MODNAS, Section 3 and its code).

    A table has a row for each anchor of the simplex (two objectives: 101 bins of the first preference). Unlike in the
    released code a preference between anchors gets their mean, so that none stays untrained, and there may be any
    number of objectives.

    Args:
        objectives, embedding, outputs: see :class:`Hypernetwork`.
        tables: so many of them.
        anchors: at most so many rows.
        wave: take the sine of the attention's scores before the softmax, as the code does on NAS-Bench-201.
        sharpness: multiplies the scores before the softmax.
        scale: standard deviation of the fresh logits.
    """

    def __init__(
        self,
        objectives: int,
        embedding: int,
        outputs: int,
        tables: int = 50,
        anchors: int = 101,
        wave: bool = False,
        sharpness: float = 1.0,
        scale: float = 1e-3,
    ):
        super().__init__(objectives, embedding, outputs)
        self.grid = simplex_grid(objectives, anchors)
        self.wave, self.sharpness = wave, sharpness
        self.keys = nn.Parameter(torch.randn(tables, embedding))
        self.tables = nn.Parameter(torch.randn(tables, len(self.grid), outputs) * scale)

    def forward(self, preferences: Tensor, devices: Tensor) -> Tensor:
        distinct, which = torch.unique(devices, dim=0, return_inverse=True)  # mixing tables is the larger part
        scores = self.standardised(distinct) @ self.keys.T / self.embedding**0.5
        attention = (self.sharpness * (scores.sin() if self.wave else scores)).softmax(1)
        mixed = (attention @ self.tables.flatten(1)).unflatten(1, self.tables.shape[1:])
        rows, weights = self.grid(preferences)
        return (mixed[which[:, None], rows] * weights[..., None]).sum(1)


class Smooth(Hypernetwork):
    """A perceptron on sines and cosines of the preference and on the device embedding.

    Args:
        objectives, embedding, outputs: see :class:`Hypernetwork`.
        width, depth: of the hidden layers.
        frequencies: so many multiples of half a wave along each preference.
        scale: of the fresh logits.
        gain: multiplies the logits, which makes the last layer learn so much faster.
    """

    def __init__(
        self,
        objectives: int,
        embedding: int,
        outputs: int,
        width: int = 128,
        depth: int = 2,
        frequencies: int = 8,
        scale: float = 1e-2,
        gain: float = 1.0,
    ):
        super().__init__(objectives, embedding, outputs)
        self.frequencies, self.gain = frequencies, gain
        sizes = [objectives * (1 + 2 * frequencies) + embedding, *[width] * depth]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], outputs)
        nn.init.normal_(self.head.weight, std=scale / gain)
        nn.init.normal_(self.head.bias, std=scale / gain)

    def forward(self, preferences: Tensor, devices: Tensor) -> Tensor:
        preferences = preferences / preferences.sum(1, keepdim=True)
        multiples = pi * torch.arange(1, self.frequencies + 1, device=preferences.device)
        waves = (preferences[:, :, None] * multiples).flatten(1)
        features = torch.cat([2 * preferences - 1, waves.sin(), waves.cos(), self.standardised(devices)], 1)
        return self.gain * self.head(self.body(features))


class Constant(Hypernetwork):
    """The same logits for everything: the architecture parameters of a search for one preference and one device."""

    def __init__(self, objectives: int, embedding: int, outputs: int, scale: float = 1e-3):
        super().__init__(objectives, embedding, outputs)
        self.logits = nn.Parameter(torch.randn(outputs) * scale)

    def forward(self, preferences: Tensor, devices: Tensor) -> Tensor:
        return self.logits.expand(len(preferences), -1)


HYPERNETWORKS: dict[str, type[Hypernetwork]] = {"bank": Bank, "smooth": Smooth, "constant": Constant}


def hypernetwork(name: str, objectives: int, embedding: int, outputs: int, **options: float) -> Hypernetwork:
    """The hypernetwork called `name` ("bank", "smooth", "constant").

    Args:
        name: one of :data:`HYPERNETWORKS`.
        objectives: length of a preference, m.
        embedding: length of a device's embedding, e.
        outputs: number of logits, the options of all choices together.
        options: of its constructor.

    Raises:
        UnknownName: no such hypernetwork.
        InvalidValue: a size below 1.
    """
    if name not in HYPERNETWORKS:
        raise UnknownName("hypernetwork", name, HYPERNETWORKS)
    return HYPERNETWORKS[name](objectives, embedding, outputs, **options)

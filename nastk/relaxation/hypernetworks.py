"""Hypernetworks: from a preference and a device to the logits of every choice."""

from __future__ import annotations

from itertools import pairwise
from math import pi

import torch
from torch import Tensor, nn

from nastk.errors import InvalidValue, UnknownName
from nastk.relaxation.preferences import simplex_grid


class Hypernetwork(nn.Module):
    """Maps preferences ``(n, m)`` and device embeddings ``(n, e)`` to logits ``(n, outputs)``.

    Initial logits are nearly equal, so that all architectures are about equally likely.

    Args:
        objectives: number of objectives, m.
        embedding: length of a device's embedding, e.
        outputs: number of options of all choices.
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
        """Set mean and spread for standardising embeddings from the training devices' embeddings ``(t, e)``.

        Embeddings of devices are similar: unstandardised, their common part would hide the differences.
        """
        self.centre = devices.mean(0)
        if len(devices) > 1:
            self.spread = (devices - self.centre).square().mean().sqrt().clamp_min(1e-3)

    def standardised(self, devices: Tensor) -> Tensor:
        """Embeddings with mean 0 and standard deviation 1 over the training devices, clipped at 4."""
        return ((devices - self.centre) / self.spread).clamp(-4, 4)


class Bank(Hypernetwork):
    """Tables of logits by preference, mixed by attention over the device embedding (MODNAS, Section 3 and its code).

    A table has a row for each anchor of the simplex (two objectives: 101 bins of the first preference). Unlike in the
    released code, rows are interpolated between anchors, so that none stays untrained, and there may be any number of
    objectives.

    Args:
        objectives, embedding, outputs: see :class:`Hypernetwork`.
        tables: number of tables.
        anchors: maximum number of rows of a table.
        wave: apply a sine to the attention scores before the softmax, as the released code does on NAS-Bench-201.
        sharpness: multiplies the scores before the softmax.
        scale: standard deviation of the initial logits.
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
        # Mixing the tables dominates the cost: do it once per device, not per preference.
        distinct, which = torch.unique(devices, dim=0, return_inverse=True)
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
        frequencies: number of multiples of half a wave along each preference.
        scale: standard deviation of the initial weights of the last layer, times the gain.
        gain: factor of the logits, which scales the learning rate of the last layer.
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
    """The same logits for every input: the architecture parameters of a search for one preference and one device."""

    def __init__(self, objectives: int, embedding: int, outputs: int, scale: float = 1e-3):
        super().__init__(objectives, embedding, outputs)
        self.logits = nn.Parameter(torch.randn(outputs) * scale)

    def forward(self, preferences: Tensor, devices: Tensor) -> Tensor:
        return self.logits.expand(len(preferences), -1)


HYPERNETWORKS: dict[str, type[Hypernetwork]] = {"bank": Bank, "smooth": Smooth, "constant": Constant}
"""Hypernetworks by name."""


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

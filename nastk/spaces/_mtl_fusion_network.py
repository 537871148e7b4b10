"""Networks of several tasks with paths between their backbones: of an architecture, and of all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

OWN, OTHER = 0.9, 0.1
"""Initial weights of a stage's own features and of another backbone's, channel by channel (NDDR-CNN's, which MTL-NAS
takes)."""

Edge = tuple[str, int, int, int, int]
"""A path between backbones: its name, the backbone and stage that it leaves, and those that it enters, from 0."""


def _stage(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


def _mixing(c_in: int, c_out: int, weight: float) -> nn.Conv2d:
    convolution = nn.Conv2d(c_in, c_out, 1, bias=False)
    nn.init.dirac_(convolution.weight)
    with torch.no_grad():
        convolution.weight.mul_(weight)
    return convolution


class Network(nn.Module):
    """A backbone a task on the same input; after each stage a 1x1 convolution of its features and of those that enter
    from other backbones, normalisation and a ReLU; the mean over the image and a linear layer a task.

    The convolution of all features together is written as the sum of one for each backbone that they come from. What
    enters from a stage with larger maps is averaged first.

    Args:
        edges: its paths between backbones.
        outputs: numbers that each task tells.
        widths, strides: of the stages.
        in_channels: of the input.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        outputs: Sequence[int],
        widths: Sequence[int],
        strides: Sequence[int],
        in_channels: int,
    ):
        super().__init__()
        self.tasks, self.depth, self.edges = len(outputs), len(widths), tuple(edges)
        reads = [in_channels, *widths]
        self.stages = nn.ModuleList(
            nn.ModuleList(_stage(*shape) for shape in zip(reads, widths, strides, strict=False)) for _ in outputs
        )
        self.own = nn.ModuleList(nn.ModuleList(_mixing(c, c, OWN) for c in widths) for _ in outputs)
        self.paths = nn.ModuleDict()
        for name, _, begin, _, end in self.edges:
            pools = [nn.AvgPool2d(2, ceil_mode=True) for s in strides[begin + 1 : end + 1] if s == 2]
            self.paths[name] = nn.Sequential(*pools, _mixing(widths[begin], widths[end], OTHER))
        self.fused = nn.ModuleList(
            nn.ModuleList(nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(inplace=True)) for c in widths) for _ in outputs
        )
        self.heads = nn.ModuleList(nn.Linear(widths[-1], count) for count in outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Outputs of each task, ``(batch, outputs)``, of inputs ``(batch, in_channels, side, side)``."""
        return self.gated(x, None)

    def gated(self, x: Tensor, gates: Tensor | Sequence[int] | None) -> tuple[Tensor, ...]:
        """The same with what passes each edge multiplied by a gate, ``(edges,)``; the paths of whole numbers that are 0
        are not computed. Without gates all paths are open."""
        features: list[list[Tensor]] = [[] for _ in range(self.tasks)]
        states = [x] * self.tasks
        for i in range(self.depth):
            for task in range(self.tasks):
                features[task].append(self.stages[task][i](states[task]))  # type: ignore[index]
            for task in range(self.tasks):
                y = self.own[task][i](features[task][i])  # type: ignore[index]
                for place, (name, source, begin, target, end) in enumerate(self.edges):
                    if target != task or end != i:
                        continue
                    gate = 1 if gates is None else gates[place]
                    if isinstance(gate, Tensor):
                        y = y + gate * self.paths[name](features[source][begin])
                    elif gate:
                        y = y + self.paths[name](features[source][begin])
                states[task] = self.fused[task][i](y)  # type: ignore[index]
        return tuple(head(state.mean((2, 3))) for head, state in zip(self.heads, states, strict=True))


class Supernet(Network):
    """The network with all paths, whose state dict holds that of every architecture's network."""

    def forward(self, x: Tensor, arch: Tensor | Sequence[int]) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Outputs of each task.

        Args:
            x: inputs ``(batch, in_channels, side, side)``.
            arch: a row of 0 and 1, whose paths alone are computed, or a (relaxed) one-hot, a float tensor
                ``(2 * edges,)``, through which gradients flow.
        """
        if isinstance(arch, Tensor) and arch.is_floating_point():
            return self.gated(x, arch.reshape(-1, 2)[:, 1])
        return self.gated(x, [int(v) for v in arch])

    def hand_over(self, network: Network, arch: Sequence[int] | None = None) -> Network:
        """Copy the weights of an architecture's network, which is returned; it says itself which paths it has."""
        mine = self.state_dict()
        network.load_state_dict({name: mine[name] for name in network.state_dict()})
        return network

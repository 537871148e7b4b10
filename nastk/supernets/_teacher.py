"""A small residual network that teaches the stages of a block-wise supernet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDER = 2
"""Channels of a teacher's stage, as a multiple of the students'."""

RATE, DECAY, SMOOTHING = 4e-3, 1e-2, 0.1


class Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input goes too, by a 1 x 1 convolution where its shape changes."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


class Teacher(nn.Module):
    """A stem, one residual block a stage, and a linear layer.

    Args:
        shapes: of the students' stem and stages, ``(channels, height, width)``; its maps have the same sizes.
        classes: number of classes.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], classes: int):
        super().__init__()
        widths = [WIDER * shape[0] for shape in shapes]
        self.stem = nn.Sequential(nn.LazyConv2d(widths[0], 3, padding=1), nn.BatchNorm2d(widths[0]), nn.ReLU())
        sides = [shape[1] for shape in shapes]
        self.stages = nn.Sequential(
            *(
                Residual(widths[i], widths[i + 1], max(round(sides[i] / sides[i + 1]), 1))
                for i in range(len(shapes) - 1)
            )
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.stages(self.stem(x)).mean(dim=(2, 3)))
        return found


def train_teacher(
    teacher: nn.Module, draw: Callable[[], tuple[Tensor, Tensor]], steps: int, tick: Callable[[], None]
) -> None:
    """Train it with AdamW, a cosine and label smoothing, on batches from `draw`."""
    teacher.train()
    teacher(draw()[0])  # gives the lazy convolution its channels
    optimiser = torch.optim.AdamW(teacher.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        images, labels = draw()
        optimiser.zero_grad()
        functional.cross_entropy(teacher(images), labels, label_smoothing=SMOOTHING).backward()
        optimiser.step()
        schedule.step()
        tick()

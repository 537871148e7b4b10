"""self-supervised: blocks that learn from what their paths say together, without teacher or labels (DNA++, BossNAS).

G. Wang et al., DNA family (TPAMI 2024, arXiv 2403.01326) replace the teacher of block-wise distillation by
self-supervision; C. Li et al., BossNAS (ICCV 2021, arXiv 2103.12424, section 3.2, ensemble bootstrapping) say how:
several paths of a stage see one view of the images, and each predicts what the same paths of a slowly following copy
say in the mean of the other view. A copy that shares its weights in the same way and gets no gradients keeps all
outputs from becoming one. Stages are trained one after another, each behind the best paths of those before it.

Differences: the first paper is known to us by its abstract, so that details are those of BossNAS; networks are rated as
those of :mod:`nastk.supernets.block_wise` are, by what of the mean of all paths' projections the best linear map of
their own output leaves unexplained, rather than by the predictor of the training; views are moved, scaled, noisy and
partly covered, as images may be of any kind.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nastk.data.images import ImageData
from nastk.errors import InvalidValue
from nastk.spaces.base import SearchSpace
from nastk.supernets._sharing import SharedWeights
from nastk.supernets.base import Supernet
from nastk.supernets.block_wise import BlockWise, Layer, run, unexplained

WIDTH, PROJECTED = 64, 32
"""Of the hidden layers of projections and predictors, and of what they put out."""

FOLLOWS = 0.95
"""Share that the copy keeps of itself in a step. BossNAS has .996, over many more steps."""

MOST_AVERAGED = 64
"""Paths of a stage whose mean rates them all."""

COVERED = 0.4
"""Side of the square that a view covers, as a share of the image's."""

SCALED, NOISE = 0.4, 0.1
"""Greatest change of a view's contrast, and deviation of its noise."""


class SelfSupervised(BlockWise):
    """Block-wise training without a teacher, on networks with attributes `stem`, `stages` (a list of modules) and
    `head`.

    Args:
        steps: of the training, shared between the stages.
        together: paths of a stage that a step trains.
        rate: of Adam, annealed to 0 by a cosine in each stage.
        judged_on: validation images that paths are rated on, and as many training images that they are adapted on.
        options: see :class:`nastk.supernets.base.Supernet`.

    Attributes:
        stages: with the losses of their paths.
        fixed: choices outside of the stages, which the losses say nothing of.
    """

    name = "self-supervised"

    def __init__(self, steps: int = 300, together: int = 4, rate: float = 5e-3, judged_on: int = 500, **options: Any):
        super().__init__(steps=steps, rate=rate, judged_on=judged_on, **options)
        if together < 2:
            raise InvalidValue(f"paths learn from each other, at least 2 together; got {together}")
        self.together = together

    def _take(self, space: SearchSpace, data: ImageData) -> None:
        Supernet._take(self, space, data)  # what images are of does not matter

    def _fit(self) -> None:
        self._generator = np.random.default_rng(self.seed)
        self._lay_out()
        count = len(self.stages)
        self._done, self._total = 0, max(self.steps // count, 1) * count
        self._follower = SharedWeights(self.space, self.seed, self.device, **self.build_options)
        kept = self._resume(self._take_stages)
        self._adapters = [nn.ModuleList() for _ in self.stages]  # stages follow on each other, without any
        groups = [self._parameters_of(i) for i in range(count)]
        pairs = [self._pairs(i, self._follower) for i in range(count)]
        self._paths = [self.layers_of(i, self.shared) for i in range(count)]
        follows = [self.layers_of(i, self._follower) for i in range(count)]
        stem, slow_stem = (self._stem_of(shared) for shared in (self.shared, self._follower))
        before = [stem]
        for i, stage in enumerate(self.stages):
            stage_of = _Stage(before, self._paths[i], slow_stem if i == 0 else None, follows[i])
            if kept is None or i >= kept["stage"]:
                self._train_stage(i, stage_of, groups[i], pairs[i], kept)
                kept = None
            before = [*before, *self._paths[i][int(np.argmin(stage.losses))]]

    def _take_stages(self, content: Mapping[str, Any]) -> None:
        """What a checkpoint says of the copy, and of the stages that are done."""
        self._follower.restore(content["follower"])
        self._done = int(content["done"])
        for stage, losses in zip(self.stages, content["losses"], strict=False):
            stage.losses = losses.cpu().numpy()

    def _stem_of(self, shared: SharedWeights) -> Layer:
        network = shared.network(self._base).train()
        return Layer(shared, network.stem, shared.places_of("stem", self._base))  # type: ignore[arg-type]

    def _pairs(self, i: int, follower: SharedWeights) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """The weights of all paths of a stage, each with that of the copy, which begins as its equal."""
        found: dict[nn.Parameter, nn.Parameter] = {}
        for path in range(len(self.stages[i].paths)):
            arch = self._arch({i: path})
            theirs = follower.parameters_of(arch)
            found |= {mine: theirs[name] for name, mine in self.shared.parameters_of(arch).items()}
        return list(found.items())

    def _train_stage(
        self,
        i: int,
        of: _Stage,
        weights: list[nn.Parameter],
        pairs: list[tuple[nn.Parameter, nn.Parameter]],
        kept: Mapping[str, Any] | None,
    ) -> None:
        """Train the paths of a stage, or go on with it from a checkpoint, and rate them."""
        # a training that goes on has drawn these already
        with contextlib.nullcontext() if kept is None else torch.random.fork_rng(devices=[]):
            with torch.no_grad():
                width = run(of.paths[0], run(of.before, self._draw()[0])).shape[1]
            projection, predictor = (perceptron(n).to(self.device) for n in (width, PROJECTED))
        slow = copy.deepcopy(projection)
        if kept is None:
            with torch.no_grad():
                for mine, theirs in pairs:
                    theirs.copy_(mine)
        pairs = [*pairs, *zip(projection.parameters(), slow.parameters(), strict=True)]
        learn = [*weights, *projection.parameters(), *predictor.parameters()]
        optimiser = torch.optim.Adam(learn, self.rate)
        steps = self._total // len(self.stages)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        states: dict[str, Any] = {
            "projection": projection, "predictor": predictor, "slow": slow,
            "optimiser": optimiser, "schedule": schedule,
        }  # fmt: skip
        if kept is not None:
            for name, part in states.items():
                part.load_state_dict(kept[name])
        for step in range(0 if kept is None else kept["step"], steps):
            images = self._draw()[0]
            views = [view(images), view(images)]
            taken = self._generator.choice(len(of.paths), min(self.together, len(of.paths)), replace=False)
            with torch.no_grad():
                taught = [mean_of(slow, [of.follows[p] for p in taken], of.slow_start(x)) for x in views]
            optimiser.zero_grad()
            for path in taken:
                loss = torch.zeros((), device=self.device)
                for x, wanted in zip(views, reversed(taught), strict=True):
                    found = predictor(projection(pooled(run(of.paths[path], of.start(x)))))
                    loss = loss - functional.cosine_similarity(found, wanted).mean()
                (loss / len(taken)).backward()
            nn.utils.clip_grad_norm_(learn, self.clip)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for own, following in pairs:
                    following.lerp_(own, 1 - FOLLOWS)
            if self._checkpoint_due():
                self._write_checkpoint(
                    stage=i, step=step + 1, done=self._done + 1, follower=self._follower.kept(),
                    losses=[torch.from_numpy(stage.losses) for stage in self.stages[:i]],
                    **{name: part.state_dict() for name, part in states.items()},
                )  # fmt: skip
            self._tick()
        self._rate_stage(i, of, slow)

    @torch.no_grad()
    def _rate_stage(self, i: int, of: _Stage, slow: nn.Module) -> None:
        """Rate all paths of a stage by what of the mean of all of them a linear map of its output does not explain."""
        seen, unseen = self._to_judge()
        some = self._generator.permutation(len(of.paths))[:MOST_AVERAGED]
        target, truth = (
            mean_of(slow, [of.follows[p] for p in some], of.slow_start(x)).double() for x in (seen, unseen)
        )
        scale = truth.std(0).clamp_min(1e-8)
        answers = zip(*(self._answers(i, of.start(x)) for x in (seen, unseen)), strict=True)
        self.stages[i].losses = np.array(
            [unexplained(pooled(a).double(), target / scale, pooled(b).double(), truth / scale) for a, b in answers]
        )


@dataclass(frozen=True)
class _Stage:
    """What a stage's training runs.

    Args:
        before: layers that come before it, with the network's stem.
        paths: of the stage, with the weights that are trained.
        slow_stem: of the copy, where the stem is trained with the stage.
        follows: the paths with the weights of the copy.
    """

    before: list[Layer]
    paths: list[list[Layer]]
    slow_stem: Layer | None
    follows: list[list[Layer]]

    def start(self, images: Tensor) -> Tensor:
        """What the stage is given; of the first one the stem learns too."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.slow_stem is not None):
            return run(self.before, images)

    def slow_start(self, images: Tensor) -> Tensor:
        """What the copy of the stage is given."""
        return run(self.before, images) if self.slow_stem is None else self.slow_stem(images)


def perceptron(width: int) -> nn.Module:
    """Two layers to :data:`PROJECTED` numbers."""
    hidden = [nn.Linear(width, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, PROJECTED))


def pooled(features: Tensor) -> Tensor:
    """The mean of each channel, ``(n, channels)``."""
    return features.flatten(2).mean(2)


def mean_of(projection: nn.Module, paths: Sequence[list[Layer]], start: Tensor) -> Tensor:
    """The mean of paths' projections of one length, ``(n, PROJECTED)``."""
    found = [functional.normalize(projection(pooled(run(path, start))), dim=1) for path in paths]
    return torch.stack(found).mean(0)


def view(images: Tensor) -> Tensor:
    """Images ``(n, channels, ...)`` with other contrasts and noise; those of two dimensions are partly covered too."""
    ones = [1] * (images.dim() - 1)
    scale = 1 + SCALED * (2 * torch.rand(len(images), *ones, device=images.device) - 1)
    seen = images * scale + NOISE * torch.randn_like(images)
    if images.dim() == 4:
        height, width = images.shape[-2:]
        tall, wide = max(int(COVERED * height), 1), max(int(COVERED * width), 1)
        down, right = int(torch.randint(height - tall + 1, ())), int(torch.randint(width - wide + 1, ()))
        seen[..., down : down + tall, right : right + wide] = 0
    return seen

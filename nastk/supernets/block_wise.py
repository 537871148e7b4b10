"""block-wise: blocks distilled from a trained teacher, each from the teacher's own features (DNA).

C. Li et al., Block-wisely supervised neural architecture search with knowledge distillation (CVPR 2020, arXiv
1911.13053); G. Wang et al., DNA family (TPAMI 2024, arXiv 2403.01326). A stage of the supernet is given what the
teacher's stage before it puts out and imitates the teacher's stage (section 3.2), so that stages are trained apart, and
few paths share each stage's weights. A network is rated by the sum of its stages' losses (section 3.3), which makes the
best one under additive limits a knapsack (:mod:`nastk.supernets.knapsack`).

Differences from the paper: the teacher is a small residual network trained here, unless one is given; 1 x 1
convolutions that all paths share adapt the channels of teacher and student.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nastk.errors import InvalidValue, Unsupported
from nastk.spaces.base import Archs
from nastk.supernets._sharing import SharedWeights
from nastk.supernets._teacher import Teacher, train_teacher
from nastk.supernets.base import Array, Supernet

MOST_PATHS = 20_000
"""Paths of a stage that are rated one by one."""

FLOOR = 0.1
"""Least deviation of a teacher's channel when errors are divided by it, as a share of the mean one: channels that
hardly vary would count for more than all others."""


@dataclass
class Stage:
    """A stage of the networks of a space.

    Args:
        choices: places of the choices that decide what it is.
        paths: their options, ``(n, choices)``, one row a path.
        losses: of the paths after the training, ``(n,)``: mean absolute error over the deviation of the teacher's
            channels.
    """

    choices: tuple[int, ...]
    paths: Archs
    losses: Array = field(default_factory=lambda: np.zeros(0))


class BlockWise(Supernet):
    """Block-wise distillation, on networks with attributes `stem`, `stages` (a list of modules) and `head`.

    Args:
        teacher: a trained network with as many `stages`, after a `stem`; None for a residual one that is trained here.
        teacher_steps: of its training.
        steps: of each stage's training.
        rate: of Adam, annealed to 0 by a cosine, for each stage.
        judged_on: validation images that paths are rated on.
        options: see :class:`nastk.supernets.base.Supernet`.

    Attributes:
        stages: with the losses of their paths.
        fixed: choices outside of the stages, which the losses say nothing of.
    """

    name = "block-wise"
    tells_accuracy = False

    def __init__(
        self,
        teacher: nn.Module | None = None,
        teacher_steps: int = 300,
        steps: int = 300,
        rate: float = 5e-3,
        judged_on: int = 500,
        **options: Any,
    ):
        super().__init__(steps=steps, rate=rate, **options)
        if teacher_steps < 1 or judged_on < 2:
            raise InvalidValue(f"needs 1 step of the teacher and 2 images; got {teacher_steps} and {judged_on}")
        self.teacher, self.teacher_steps, self.judged_on = teacher, teacher_steps, judged_on

    def _fit(self) -> None:
        self.shared = SharedWeights(self.space, self.seed, self.device, **self.build_options)
        self._base = self.space.canonical(self.space.sample(1, np.random.default_rng(self.seed)))[0]
        self.stages, self.fixed = find_stages(self.shared, self._base)
        shapes = self._shapes()
        total = self.steps * len(self.stages) + (self.teacher_steps if self.teacher is None else 0)
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            if self.progress is not None:
                self.progress(done, total)

        teacher = self.teacher
        if teacher is None:
            teacher = Teacher(shapes, len(self.data.classes))
            train_teacher(teacher.to(self.device), self._draw, self.teacher_steps, tick)
        teacher = teacher.to(self.device).eval().requires_grad_(False)
        self._adapters = [self._adapter(teacher, shapes, i) for i in range(len(self.stages))]
        for i in range(len(self.stages)):
            self._train_stage(i, teacher, tick)
        self._rate(teacher)

    def state(self) -> dict[str, Tensor]:
        losses = {f"losses of stage {i + 1}": torch.from_numpy(s.losses) for i, s in enumerate(self.stages)}
        return self.shared.kept() | losses

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        self.shared = SharedWeights(self.space, self.seed, self.device, **self.build_options)
        self._base = self.space.canonical(self.space.sample(1, np.random.default_rng(self.seed)))[0]
        self.stages, self.fixed = find_stages(self.shared, self._base)
        rest = dict(state)
        for i, stage in enumerate(self.stages):
            stage.losses = rest.pop(f"losses of stage {i + 1}").cpu().numpy()
        self.shared.restore(rest)

    def _shapes(self) -> list[tuple[int, ...]]:
        """Outputs ``(channels, height, width)`` of the stem and of each stage; the same for all networks."""
        network = self.shared.network(self._base).eval()
        _, channels, height, width = self._draw()[0].shape
        x = torch.zeros(1, channels, height, width, device=self.device)
        shapes = []
        with torch.no_grad():
            for module in (network.stem, *network.stages):  # type: ignore[misc]
                x = module(x)
                shapes.append(tuple(x.shape[1:]))
        return shapes

    def _adapter(self, teacher: nn.Module, shapes: Sequence[tuple[int, ...]], stage: int) -> nn.ModuleList:
        """Convolutions from the teacher's features to a stage's input, and from its output to the teacher's."""
        with torch.no_grad():
            features = teacher_features(teacher, self._draw()[0][:2])
        into: nn.Module = nn.Identity()  # of the first stage, which follows the student's own stem
        if stage:
            into = nn.Sequential(
                nn.Conv2d(features[stage].shape[1], shapes[stage][0], 1), nn.BatchNorm2d(shapes[stage][0])
            )
        wanted = features[stage + 1]
        if tuple(wanted.shape[2:]) != shapes[stage + 1][1:]:
            raise InvalidValue(
                f"stage {stage + 1} of the teacher puts out maps of {tuple(wanted.shape[2:])}, and the networks' of "
                f"{shapes[stage + 1][1:]}"
            )
        return nn.ModuleList([into, nn.Conv2d(shapes[stage + 1][0], wanted.shape[1], 1)]).to(self.device)

    def _train_stage(self, i: int, teacher: nn.Module, tick: Callable[[], None]) -> None:
        stage, adapter = self.stages[i], self._adapters[i]
        prefixes = (f"stages.{i}.", "stem.") if i == 0 else (f"stages.{i}.",)
        found = [
            parameter
            for path in range(len(stage.paths))  # all of them: their weights are there before the optimiser is
            for name, parameter in self.shared.parameters_of(self._arch({i: path})).items()
            if name.startswith(prefixes)
        ]
        mine = list(dict.fromkeys([*adapter.parameters(), *found]))
        optimiser = torch.optim.Adam(mine, self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        generator = np.random.default_rng([self.seed, i])
        for _ in range(self.steps):
            images, _ = self._draw()
            with torch.no_grad():
                features = teacher_features(teacher, images, i + 1)
                scale = deviation(features[i + 1])
            optimiser.zero_grad()
            answer = self._run(i, int(generator.integers(len(stage.paths))), images, features[i])
            functional.mse_loss(answer / scale, features[i + 1] / scale).backward()
            self._step(optimiser, mine)
            schedule.step()
            tick()

    def _run(self, i: int, path: int, images: Tensor, features: Tensor) -> Tensor:
        """What one path of a stage puts out, in the teacher's channels; batches are normalised by themselves."""
        into, out = self._adapters[i]
        arch = self._arch({i: path})
        network = self.shared.network(arch).train()
        x = self.shared.call(network.stem, "stem", arch, images) if i == 0 else into(features)  # type: ignore[arg-type]
        found: Tensor = out(self.shared.call(network.stages[i], f"stages.{i}", arch, x))  # type: ignore[index, arg-type]
        return found

    @torch.no_grad()
    def _rate(self, teacher: nn.Module) -> None:
        images = torch.cat([x.to(self.device) for x, _ in self._validation.batches(self.judged_on)][:1])
        features = teacher_features(teacher, images)
        for i, stage in enumerate(self.stages):
            scale = deviation(features[i + 1])
            wanted = features[i + 1] / scale
            stage.losses = np.array(
                [
                    float((self._run(i, p, images, features[i]) / scale - wanted).abs().mean())
                    for p in range(len(stage.paths))
                ]
            )

    def _arch(self, paths: dict[int, int]) -> Archs:
        """The architecture with these paths of stages, and the base's elsewhere."""
        arch = self._base.copy()
        for i, path in paths.items():
            arch[list(self.stages[i].choices)] = self.stages[i].paths[path]
        return arch

    def _judge(self, arch: Archs) -> tuple[float, float]:
        taken = zip(self.stages, self.paths_of(arch), strict=True)
        return float(sum(stage.losses[place] for stage, place in taken)), np.nan

    def paths_of(self, arch: Archs) -> list[int]:
        """The path of each stage that an architecture ``(d,)`` takes."""
        row = self.space.canonical(arch[None])[0]
        return [int(np.argmax((s.paths == row[list(s.choices)]).all(axis=1))) for s in self.stages]

    def archs_of(self, paths: Archs) -> Archs:
        """The architectures ``(n, d)`` of paths of the stages ``(n, stages)``, such as those of a knapsack's front."""
        return np.stack([self._arch(dict(enumerate(row.tolist()))) for row in np.atleast_2d(paths)])

    def weights_of(self, arch: Archs) -> dict[str, Tensor]:
        """Parameters to start a training from; stages were trained behind the teacher's and not behind each other."""
        row = self.space.as_archs(arch)[0]
        return {name: value.detach().cpu().clone() for name, value in self.shared.own_weights(row).items()}


def teacher_features(teacher: nn.Module, images: Tensor, stages: int | None = None) -> list[Tensor]:
    """Outputs of the teacher's stem and of each of its first stages; of all by default."""
    features = [teacher.stem(images)]  # type: ignore[operator]
    for stage in islice(teacher.stages, stages):  # type: ignore[arg-type]
        features.append(stage(features[-1]))
    return features


def deviation(features: Tensor) -> Tensor:
    """Standard deviation of each channel, ``(1, channels, 1, 1)``, at least :data:`FLOOR` of their mean."""
    std = features.std(dim=(0, 2, 3), keepdim=True)
    return std.clamp_min(FLOOR * float(std.mean()) + 1e-8)


def find_stages(shared: SharedWeights, base: Archs) -> tuple[list[Stage], tuple[int, ...]]:
    """The stages of a space's networks, with the paths of each, and the choices outside of them.

    A choice belongs to the stage that changes with it.

    Raises:
        Unsupported: networks have no `stem` and `stages`; a choice changes several stages; too many paths.
    """
    space = shared.space
    own = _forms(shared, base)
    owners: dict[int, set[int]] = {}
    for choice, options in enumerate(space.sizes):
        for option in range(options):
            other = base.copy()
            other[choice] = option
            if not space.is_valid(other[None])[0]:
                continue
            for i, (before, after) in enumerate(zip(own, _forms(shared, other), strict=True)):
                if before != after:
                    owners.setdefault(choice, set()).add(i)
    for choice, of in owners.items():
        if len(of) > 1:
            raise Unsupported(
                f"block-wise distillation rates stages one by one; the choice {space.choices[choice].name!r} changes "
                f"stages {' and '.join(str(i + 1) for i in sorted(of))}"
            )
    stages = []
    for i in range(len(own)):
        mine = tuple(choice for choice, of in sorted(owners.items()) if of == {i})
        number = int(np.prod([space.sizes[c] for c in mine]))
        if number > MOST_PATHS:
            raise Unsupported(f"stage {i + 1} has {number:,} paths; at most {MOST_PATHS:,} can be rated one by one")
        rows = np.repeat(base[None], number, axis=0)
        rows[:, list(mine)] = np.array(list(product(*(range(space.sizes[c]) for c in mine))), dtype=np.int64)
        rows = space.canonical(rows[space.is_valid(rows)])
        stages.append(Stage(mine, np.unique(rows[:, list(mine)], axis=0)))
    return stages, tuple(c for c in range(space.d) if c not in owners)


def _stages_of(network: nn.Module, called: str) -> Sequence[nn.Module]:
    stages = getattr(network, "stages", None)
    if not isinstance(stages, (nn.Sequential, nn.ModuleList)) or not isinstance(
        getattr(network, "stem", None), nn.Module
    ):
        raise Unsupported(
            f"block-wise distillation needs networks with attributes `stem`, `stages` (an nn.Sequential) and `head`, "
            f"run in this order; those of {called} have none"
        )
    return list(stages)


def _forms(shared: SharedWeights, arch: Archs) -> list[str]:
    """What each stage of a network is, in words."""
    return [repr(stage) for stage in _stages_of(shared.outline(arch), shared.space.name)]

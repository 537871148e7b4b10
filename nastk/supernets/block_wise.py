"""block-wise: blocks distilled from a trained teacher, each from the teacher's own features (DNA).

C. Li et al., Block-wisely supervised neural architecture search with knowledge distillation (CVPR 2020, arXiv
1911.13053); G. Wang et al., DNA family (TPAMI 2024, arXiv 2403.01326). A stage of the supernet is given what the
teacher's stage before it puts out and imitates the teacher's stage (section 3.2), so that stages are trained apart, and
few paths share each stage's weights. A network is rated by the sum of its stages' losses (section 3.3), which makes the
best one under additive limits a knapsack (:mod:`nastk.supernets.knapsack`). With `rounds` the network that is rated
best is the next teacher (DNA+, the second paper). :mod:`nastk.supernets.self_supervised` has none (DNA++).

Differences from the papers: the teacher is a small residual network trained here, unless one is given; 1 x 1
convolutions that all paths of a stage share adapt the channels of teacher and student in training, and each path gets
its own, by ridge regression, before it is rated. DNA+ makes the found network larger before it teaches; here it
teaches as it is, as a space says of no network what a larger one would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nastk.data.images import ImageData
from nastk.errors import InvalidValue, Unsupported
from nastk.problems import CLASSIFICATION
from nastk.spaces._networks import build_network, recalibrate
from nastk.spaces.base import Archs, SearchSpace
from nastk.supernets._sharing import SharedWeights, Slice
from nastk.supernets._teacher import Teacher, train_teacher
from nastk.supernets.base import Array, Supernet

MOST_PATHS = 20_000
"""Paths of a stage that are rated one by one."""

FLOOR = 0.1
"""Least deviation of a teacher's channel when errors are divided by it, as a share of the mean one: channels that
hardly vary would count for more than all others."""


RIDGE = 1e-3
"""Of the regression that adapts a path's output to the teacher's, as a share of the mean variance of its channels."""


@dataclass
class Stage:
    """A stage of the networks of a space.

    Args:
        choices: places of the choices that decide what it is.
        paths: their options, ``(n, choices)``, one row a path.
        losses: of the paths after the training, ``(n,)``: mean squared error over the variance of the teacher's
            channels, on validation images, after the best linear map of the path's channels to them.
    """

    choices: tuple[int, ...]
    paths: Archs
    losses: Array = field(default_factory=lambda: np.zeros(0))


class Layer:
    """A layer that paths have, with its shared weights; the network that it is of need not be kept."""

    def __init__(self, shared: SharedWeights, module: nn.Module, places: Mapping[str, Slice]):
        self._shared, self._module, self._places = shared, module, places

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self._shared.call_with(self._module, self._places, x)
        return found


class BlockWise(Supernet):
    """Block-wise distillation, on networks with attributes `stem`, `stages` (a list of modules) and `head`.

    Args:
        teacher: a trained network with as many `stages`, after a `stem`; None for a residual one that is trained here.
        teacher_steps: of its training.
        steps: of the training, each of one path of every stage.
        rate: of Adam, annealed to 0 by a cosine.
        judged_on: validation images that paths are rated on, and as many training images that they are adapted on.
        rounds: of the whole, each taught by the network that the one before rates best, which is trained for
            `teacher_steps` from the weights that it has (DNA+).
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
        rounds: int = 1,
        **options: Any,
    ):
        super().__init__(steps=steps, rate=rate, **options)
        if teacher_steps < 1 or judged_on < 2 or rounds < 1:
            raise InvalidValue(
                f"needs 1 step of the teacher, 2 images and 1 round; got {teacher_steps}, {judged_on} and {rounds}"
            )
        self.teacher, self.teacher_steps, self.judged_on = teacher, teacher_steps, judged_on
        self.rounds = rounds

    def check(self, space: SearchSpace) -> None:
        super().check(space)
        find_stages(SharedWeights(space, self.seed, **self.build_options), self._first(space))

    def _first(self, space: SearchSpace) -> Archs:
        """The architecture that has what a stage's path does not say."""
        return space.canonical(space.sample(1, np.random.default_rng(self.seed)))[0]

    def _take(self, space: SearchSpace, data: ImageData) -> None:
        if data.problem.name != CLASSIFICATION.name:
            raise Unsupported(f"block-wise's teacher classifies, and {data.name} are for {data.problem.name}")
        super()._take(space, data)

    def _fit(self) -> None:
        self._generator = np.random.default_rng(self.seed)
        self._done = 0
        self._lay_out()
        teachers = self.rounds - (self.teacher is not None)
        self._total = self.rounds * self.steps + teachers * self.teacher_steps
        shapes = self._shapes()
        kept = self._resume(lambda content: self._take_round(content, shapes))
        for at in range(0 if kept is None else kept["round"], self.rounds):
            if kept is None:
                self._begin_round(at, shapes)
            self._train_stages(at, kept)
            self._rate(self._teaches)
            kept = None

    def _lay_out(self) -> None:
        """Weights at their beginning, and the stages that they are of."""
        self.shared = SharedWeights(self.space, self.seed, self.device, **self.build_options)
        self._base = self._first(self.space)
        self.stages, self.fixed = find_stages(self.shared, self._base)

    def _tick(self) -> None:
        self._done += 1
        if self.progress is not None:
            self.progress(self._done, self._total)

    def _begin_round(self, at: int, shapes: Sequence[tuple[int, ...]]) -> None:
        """A trained teacher, and untrained stages."""
        best = None
        if at == 0 and self.teacher is not None:
            teacher = self.teacher.to(self.device)
        else:
            if at:
                best = self._arch({i: int(np.argmin(stage.losses)) for i, stage in enumerate(self.stages)})
            teacher = self._untrained(best, shapes)
            if best is not None:
                teacher.load_state_dict(self.weights_of(best), strict=False)
            train_teacher(teacher, self._draw, self.teacher_steps, self._tick)
            if best is not None:
                recalibrate(teacher, self._calibration_batches())
                self._lay_out()
        self._teaches, self._best = teacher.eval().requires_grad_(False), best
        self._adapters = [self._adapter(self._teaches, shapes, i) for i in range(len(self.stages))]

    def _untrained(self, arch: Archs | None, shapes: Sequence[tuple[int, ...]]) -> nn.Module:
        """A teacher: the network of an architecture ``(d,)``, or a residual one."""
        if arch is None:
            return Teacher(shapes, len(self.data.classes)).to(self.device)
        return build_network(self.space, arch, **self.build_options).to(self.device)

    def _take_round(self, content: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> None:
        """Teacher and adapters of a checkpoint."""
        best = content["best"]
        self._best = None if best is None else np.array(best, dtype=np.int64)
        given = self.teacher is not None and content["round"] == 0
        teacher = self.teacher.to(self.device) if given else self._untrained(self._best, shapes)  # type: ignore[union-attr]
        teacher.load_state_dict(content["teacher"])
        self._teaches = teacher.eval().requires_grad_(False)
        self._adapters = [self._adapter(self._teaches, shapes, i) for i in range(len(self.stages))]
        for adapter, state in zip(self._adapters, content["adapters"], strict=True):
            adapter.load_state_dict(state)
        self._done = int(content["done"])

    def state(self) -> dict[str, Tensor]:
        losses = {f"losses of stage {i + 1}": torch.from_numpy(s.losses) for i, s in enumerate(self.stages)}
        return self.shared.kept() | losses

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        self._lay_out()
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

    def _train_stages(self, at: int, kept: Mapping[str, Any] | None) -> None:
        """Train all stages, each for itself, on the same images: what the teacher makes of them serves all."""
        groups = [self._parameters_of(i) for i in range(len(self.stages))]
        self._paths = [self.layers_of(i, self.shared) for i in range(len(self.stages))]  # no weight grows any more
        optimiser = torch.optim.Adam([p for group in groups for p in group], self.rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        if kept is not None:
            optimiser.load_state_dict(kept["optimiser"])
            schedule.load_state_dict(kept["schedule"])
        for step in range(0 if kept is None else kept["step"], self.steps):
            images, _ = self._draw()
            with torch.no_grad():
                features = teacher_features(self._teaches, images)
            optimiser.zero_grad()
            for i, group in enumerate(groups):
                path = int(self._generator.integers(len(self.stages[i].paths)))
                wanted, scale = features[i + 1], deviation(features[i + 1])
                functional.mse_loss(self._run(i, path, images, features[i]) / scale, wanted / scale).backward()
                nn.utils.clip_grad_norm_(group, self.clip)
            optimiser.step()
            schedule.step()
            if self._checkpoint_due():
                self._write_checkpoint(
                    round=at, step=step + 1, done=self._done + 1, optimiser=optimiser.state_dict(),
                    schedule=schedule.state_dict(), adapters=[adapter.state_dict() for adapter in self._adapters],
                    teacher=self._teaches.state_dict(), best=None if self._best is None else self._best.tolist(),
                )  # fmt: skip
            self._tick()

    def _parameters_of(self, i: int) -> list[nn.Parameter]:
        """What a stage's training changes: its adapters and the weights of all its paths; of the first, the stem's."""
        prefixes = (f"stages.{i}.", "stem.") if i == 0 else (f"stages.{i}.",)
        found = [
            parameter
            for path in range(len(self.stages[i].paths))
            for name, parameter in self.shared.parameters_of(self._arch({i: path})).items()
            if name.startswith(prefixes)
        ]
        return list(dict.fromkeys([*self._adapters[i].parameters(), *found]))

    def _run(self, i: int, path: int, images: Tensor, features: Tensor) -> Tensor:
        """What one path of a stage puts out, in the teacher's channels; batches are normalised by themselves."""
        found: Tensor = self._adapters[i][1](run(self._paths[i][path], self._input(i, images, features)))
        return found

    def _input(self, i: int, images: Tensor, features: Tensor) -> Tensor:
        """What the first layer of a stage is given."""
        if i:
            found: Tensor = self._adapters[i][0](features)
            return found
        network = self.shared.network(self._base).train()
        return self.shared.call(network.stem, "stem", self._base, images)  # type: ignore[arg-type]

    def layers_of(self, i: int, shared: SharedWeights) -> list[list[Layer]]:
        """What each path of a stage runs one after another, with these weights: the layers of an `nn.Sequential`, or
        the stage as a whole.

        Layers of several paths that do the same are one.
        """
        known: dict[str, Layer] = {}
        found: list[list[Layer]] = []
        for path in range(len(self.stages[i].paths)):
            arch = self._arch({i: path})
            stage: nn.Module = shared.network(arch).train().stages[i]  # type: ignore[index, assignment]
            parts = {f"stages.{i}": stage}
            if type(stage) is nn.Sequential:
                parts = {f"stages.{i}.{name}": layer for name, layer in stage.named_children()}
            found.append([])
            for name, module in parts.items():
                places = shared.places_of(name, arch)
                key = f"{name} {module!r} {places}"
                found[-1].append(known.setdefault(key, Layer(shared, module, places)))
        return found

    @torch.no_grad()
    def _rate(self, teacher: nn.Module) -> None:
        """Rate all paths by what of the teacher's features a linear map of their own output does not explain.

        The adapter of the training serves all paths of a stage, and fits those that are most: it would count against a
        path whose last layer is a rare one, such as none at all. Each path therefore gets the best adapter there is, by
        ridge regression on training images.
        """
        seen, unseen = self._to_judge()
        taught, wanted = teacher_features(teacher, seen), teacher_features(teacher, unseen)
        for i, stage in enumerate(self.stages):
            scale = deviation(wanted[i + 1])
            target, truth = rows_of(taught[i + 1] / scale), rows_of(wanted[i + 1] / scale)
            starts = self._input(i, seen, taught[i]), self._input(i, unseen, wanted[i])
            answers = zip(*(self._answers(i, start) for start in starts), strict=True)
            stage.losses = np.array([unexplained(rows_of(a), target, rows_of(b), truth) for a, b in answers])

    def _to_judge(self) -> tuple[Tensor, Tensor]:
        """Training images on which paths are adapted, and validation images on which they are rated."""
        order = torch.randperm(len(self._training), generator=torch.Generator().manual_seed(self.seed))
        seen = self._training.batch(order[: self.judged_on])[0].to(self.device)
        return seen, torch.cat([x.to(self.device) for x, _ in self._validation.batches(self.judged_on)][:1])

    def _answers(self, i: int, start: Tensor) -> Iterator[Tensor]:
        """What each path of a stage puts out, without adapter, of what its first layer is given; what it begins with
        like the path before is not computed again."""
        known: list[tuple[Layer, Tensor]] = []
        for layers in self._paths[i]:
            same = 0
            while same < min(len(known), len(layers)) and known[same][0] is layers[same]:
                same += 1
            del known[same:]
            for layer in layers[same:]:
                known.append((layer, layer(known[-1][1] if known else start)))
            yield known[-1][1] if known else start

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
        same = [(stage.paths == row[list(stage.choices)]).all(axis=1) for stage in self.stages]
        if not all(one.any() for one in same):
            raise InvalidValue(f"{self.space.format(arch)} takes a path that no network of {self.space.name} has")
        return [int(np.argmax(one)) for one in same]

    def archs_of(self, paths: Archs) -> Archs:
        """The architectures ``(n, d)`` of paths of the stages ``(n, stages)``, such as those of a knapsack's front."""
        return np.stack([self._arch(dict(enumerate(row.tolist()))) for row in np.atleast_2d(paths)])

    def weights_of(self, arch: Archs) -> dict[str, Tensor]:
        """Parameters to start a training from; stages were trained behind the teacher's and not behind each other."""
        row = self.space.as_archs(arch)[0]
        return {name: value.detach().cpu().clone() for name, value in self.shared.own_weights(row).items()}


def run(layers: Iterable[Layer], x: Tensor) -> Tensor:
    """What layers one after another make of features."""
    for layer in layers:
        x = layer(x)
    return x


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


def rows_of(features: Tensor) -> Tensor:
    """Features ``(n, channels, height, width)`` as one row a position, ``(n * height * width, channels)``, float64."""
    return features.movedim(1, -1).flatten(0, -2).double()


def unexplained(x: Tensor, y: Tensor, unseen_x: Tensor, unseen_y: Tensor) -> float:
    """Mean squared error on unseen rows of the ridge regression of rows `y` ``(n, b)`` on rows `x` ``(n, a)``."""
    centre, target = x.mean(0), y.mean(0)
    centred = x - centre
    gram = centred.T @ centred
    ridge = RIDGE * float(gram.diagonal().mean()) + 1e-12
    gram.diagonal().add_(ridge)
    weights = torch.linalg.solve(gram, centred.T @ (y - target))
    return float(((unseen_x - centre) @ weights + target - unseen_y).square().mean())


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

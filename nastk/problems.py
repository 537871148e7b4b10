"""Problems: what a network is trained for and judged by.

A problem says which loss is minimised, by which metric a network is judged (with its unit and direction), and how what
it returns is read. Trainings, supernets, generators and proxies take one; by default it is classification. ::

    nastk.oracles.Training(space, (x, y), (u, v), (s, t), problem="regression")

A problem of one's own is a subclass of :class:`Problem`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nastk.errors import InvalidValue, UnknownName
from nastk.outputs import AmbiguousOutput, Logits, named_tensors

if TYPE_CHECKING:
    from torch import Tensor


class Problem(ABC):
    """What networks are trained for and judged by.

    Attributes:
        name: of the problem.
        metric: what a network is judged by, such as "accuracy".
        unit: of the metric.
        direction: "max" or "min".
        scale: of the metric's unit to that of :meth:`scores`: 100 where they are shares and it is in %.
        smooths: whether labels can be smoothed.
    """

    name: ClassVar[str]
    metric: str
    unit: str = ""
    direction: Literal["min", "max"] = "min"
    scale: float = 1.0
    smooths: bool = False

    def read(self, returned: Any, logits: Logits | None = None) -> Any:
        """The outputs, in what a network returns.

        Args:
            returned: a tensor, or several in tuples, dictionaries or dataclasses.
            logits: which of several tensors it is.

        Raises:
            AmbiguousOutput: they cannot be told.
        """
        return (logits or Logits()).choose(returned)[1]

    @abstractmethod
    def loss(self, outputs: Any, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            outputs: as :meth:`read` gives them.
            targets: what they should be, ``(b, ...)``.
            smoothing: of labels, where the problem smooths them.
        """

    def total(self, outputs: Any, targets: Tensor) -> Tensor:
        """The loss summed over the examples of a batch, a scalar."""
        return self.loss(outputs, targets) * len(targets)

    @abstractmethod
    def scores(self, outputs: Any, targets: Tensor) -> Tensor:
        """A value for each example of a batch, ``(b,)``, whose mean over all examples is the metric (by `scale`)."""

    def soften(self, outputs: Any) -> Any:
        """What another network learns from these outputs, without their gradient."""
        return outputs.detach()

    def mean_of(self, softened: list[Any]) -> Any:
        """The mean of what several networks teach."""
        import torch

        return torch.stack(softened).mean(0)

    @abstractmethod
    def distilled(self, outputs: Any, softened: Any) -> Tensor:
        """The mean loss of a batch against what another network teaches, a scalar."""

    def badness(self, mean: float) -> float:
        """What is minimised, in the metric's unit, from the mean of the scores: the error of an accuracy."""
        return self.scale * (1.0 - mean) if self.direction == "max" else self.scale * mean

    def value(self, badness: float) -> float:
        """The metric; the inverse of :meth:`badness`."""
        return self.scale - badness if self.direction == "max" else badness

    def identity(self) -> Any:
        """What tells it from other problems, JSON-able."""
        return self.name


class Classification(Problem):
    """One of several classes: cross-entropy of logits ``(b, classes)``, judged by accuracy.

    Targets are classes ``(b,)``.
    """

    name = "classification"
    metric, unit, direction, scale, smooths = "accuracy", "%", "max", 100.0, True

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(outputs, targets, reduction="sum")

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.argmax(1) == targets

    def soften(self, outputs: Tensor) -> Tensor:
        return outputs.detach().softmax(1)

    def distilled(self, outputs: Tensor, softened: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(outputs, softened)


class Sequence(Problem):
    """A class for each place of a sequence: cross-entropy of logits ``(b, t, classes)``, judged by accuracy.

    Targets are classes ``(b, t)``; places with -100 do not count. The accuracy is the mean over sequences.
    """

    name = "sequence"
    metric, unit, direction, scale, smooths = "accuracy", "%", "max", 100.0, True

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        counted = targets != -100
        right = (outputs.argmax(2) == targets) & counted
        return right.sum(1) / counted.sum(1).clamp(min=1)

    def soften(self, outputs: Tensor) -> Tensor:
        return outputs.detach().softmax(2)

    def distilled(self, outputs: Tensor, softened: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(outputs.flatten(0, 1), softened.flatten(0, 1))


class Regression(Problem):
    """Numbers: mean squared error of outputs ``(b,)`` or ``(b, k)``, judged by the mean absolute error.

    Targets have the outputs' shape; ``(b,)`` and ``(b, 1)`` are the same.
    """

    name = "regression"
    metric = "mae"

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        return (outputs - _alike(outputs, targets)).square().mean()

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - _alike(outputs, targets)).abs().flatten(1).mean(1)

    def distilled(self, outputs: Tensor, softened: Tensor) -> Tensor:
        return (outputs - softened).square().mean()


class Density(Regression):
    """A map whose sum is a number of things, as in counting: mean squared error of the maps ``(b, 1, height, width)``,
    judged by the mean absolute error of the sums.

    Targets are such maps, or ``(b, height, width)``.

    With a pyramid the same error of the maps' averages over squares is added for each size (the scale pyramid pooling
    loss of NAS-Count, Hu et al., ECCV 2020, arXiv 2003.00217), so that what is counted in a region weighs more than
    where in it. How the paper weighs the sizes is not known to us; here they weigh alike.

    Args:
        pyramid: sides of the squares, pixels of the map; those at a border are smaller where they do not fit.
        weight: of the pyramid's part.

    Raises:
        InvalidValue: a side below 2, or a negative weight.
    """

    name = "density"
    metric = "count_mae"

    def __init__(self, pyramid: Iterable[int] = (), weight: float = 1.0):
        self.pyramid, self.weight = tuple(pyramid), float(weight)
        if any(side < 2 for side in self.pyramid) or not self.weight >= 0:
            raise InvalidValue(
                f"a pyramid has sides from 2 on, and no negative weight; got {self.pyramid} and {weight}"
            )

    def loss(self, outputs: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        return self._error(outputs - _alike(outputs, targets))

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.flatten(1).sum(1) - _alike(outputs, targets).flatten(1).sum(1)).abs()

    def distilled(self, outputs: Tensor, softened: Tensor) -> Tensor:
        return self._error(outputs - softened)

    def _error(self, difference: Tensor) -> Tensor:
        from torch.nn import functional

        error = difference.square().mean()
        maps = difference.reshape(-1, 1, *difference.shape[-2:])
        for side in self.pyramid:
            height, width = (min(side, size) for size in maps.shape[-2:])
            pooled = functional.avg_pool2d(maps, (height, width), ceil_mode=True)
            error = error + self.weight * pooled.square().mean()
        return error

    def identity(self) -> Any:
        return [self.name, list(self.pyramid), self.weight] if self.pyramid else self.name


def _alike(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of the outputs, from which they may differ by a dimension of length 1.

    Raises:
        InvalidValue: they differ by more: broadcasting would compare each with all.
    """
    if outputs.numel() != targets.numel() or len(outputs) != len(targets):
        raise InvalidValue(f"outputs {tuple(outputs.shape)} do not fit targets {tuple(targets.shape)}")
    return targets.reshape(outputs.shape).to(outputs.dtype)


class MultiTask(Problem):
    """Several problems at once, whose losses are added.

    A network returns a tensor for each, in a tuple or a dictionary; targets are ``(b, tasks)``, a column for each. It
    is judged by the mean of the tasks' badness, each in its own unit: the error of an accuracy is a share in %.

    Args:
        tasks: by name, in the order of outputs and columns.
        weights: of their losses, by name; 1 by default.

    Raises:
        InvalidValue: no tasks, or a weight of none.
    """

    name = "multi-task"
    metric = "badness"

    def __init__(self, tasks: Mapping[str, str | Problem], weights: Mapping[str, float] | None = None):
        self.tasks = {name: problem(task) for name, task in tasks.items()}
        self.weights = {name: float((weights or {}).get(name, 1.0)) for name in self.tasks}
        if not self.tasks or set(weights or {}) - set(self.tasks):
            raise InvalidValue(f"a multi-task problem has tasks, and weights of these; got {tasks} and {weights}")
        units = {task.unit for task in self.tasks.values()}
        self.unit = units.pop() if len(units) == 1 else ""

    def read(self, returned: Any, logits: Logits | None = None) -> dict[str, Tensor]:
        found = named_tensors(returned)
        if set(self.tasks) <= set(found):
            return {name: found[name] for name in self.tasks}
        if len(found) != len(self.tasks):
            raise AmbiguousOutput(
                f"the network returns {len(found)} tensors ({', '.join(found)}); the tasks are {', '.join(self.tasks)}"
            )
        return dict(zip(self.tasks, found.values(), strict=True))

    def columns(self, outputs: Mapping[str, Tensor], targets: Tensor) -> list[tuple[str, Problem, Tensor, Tensor]]:
        """Each task: its name, its problem, its outputs and its targets.

        Raises:
            InvalidValue: targets that do not have a column for each.
        """
        if targets.ndim != 2 or targets.shape[1] != len(self.tasks):
            raise InvalidValue(f"targets are (b, {len(self.tasks)}), a column a task; got {tuple(targets.shape)}")
        return [
            (name, task, outputs[name], targets[:, i].long() if task.smooths else targets[:, i])
            for i, (name, task) in enumerate(self.tasks.items())
        ]

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor, smoothing: float = 0.0) -> Tensor:
        parts = [
            self.weights[name] * task.loss(found, wanted, smoothing if task.smooths else 0.0)
            for name, task, found, wanted in self.columns(outputs, targets)
        ]
        return sum(parts[1:], parts[0])

    def scores(self, outputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        parts = [
            task.scale * (1.0 - scores.float() if task.direction == "max" else scores)
            for _, task, found, wanted in self.columns(outputs, targets)
            for scores in [task.scores(found, wanted)]
        ]
        return sum(parts[1:], parts[0]) / len(parts)

    def soften(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: task.soften(outputs[name]) for name, task in self.tasks.items()}

    def mean_of(self, softened: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: task.mean_of([each[name] for each in softened]) for name, task in self.tasks.items()}

    def distilled(self, outputs: Mapping[str, Tensor], softened: Mapping[str, Tensor]) -> Tensor:
        parts = [
            self.weights[name] * task.distilled(outputs[name], softened[name]) for name, task in self.tasks.items()
        ]
        return sum(parts[1:], parts[0])

    def identity(self) -> Any:
        return [self.name, [[name, task.identity(), self.weights[name]] for name, task in self.tasks.items()]]


CLASSIFICATION = Classification()
"""What networks are for where nothing else is said."""

_KNOWN: dict[str, type[Problem]] = {cls.name: cls for cls in (Classification, Sequence, Regression, Density)}


def problem(named: str | Problem) -> Problem:
    """A problem by name.

    Args:
        named: classification, sequence, regression or density; a problem itself is returned as it is.

    Raises:
        UnknownName: no such problem; :class:`MultiTask` needs its tasks, and is made by its constructor.
    """
    if isinstance(named, Problem):
        return named
    if named not in _KNOWN:
        raise UnknownName("problem", named, _KNOWN)
    return _KNOWN[named]()

"""How a network is trained on images, resumably: for :class:`nastk.oracles.Training` and ``nastk train``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.data.images import Part
from nastk.errors import DataError, InvalidValue, import_extra
from nastk.evaluation import reason_of
from nastk.files import atomic_path, write_text
from nastk.oracles._weights import write_weights
from nastk.outputs import Logits
from nastk.problems import CLASSIFICATION, Problem
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

OPTIMIZERS = {"sgd": (0.05, 5e-4), "adamw": (1e-3, 0.05)}
"""Optimisers: their default learning rate and weight decay."""

AUGMENTATIONS = ("crop", "flip")
"""Random changes of training images: a crop after padding by an eighth of each side, a horizontal flip."""

CHECKPOINT, DONE = "checkpoint.pt", "training.json"
"""Files in the folder of a training, beside the network's weights: where it goes on, and what came of it."""

CHECKPOINT_SECONDS = 10.0
"""Seconds between checkpoints, which are written after an epoch: with brief epochs not after each."""

EVALUATED = 500
"""Images that are classified at a time."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the learning rate is annealed to 0 by a cosine.

    Args:
        epochs: passes over the training images.
        batch: images of a step, about: an epoch is divided into equal batches.
        optimizer: "sgd" (with Nesterov momentum) or "adamw".
        rate, decay: learning rate and weight decay; by default those of :data:`OPTIMIZERS`.
        momentum: of SGD.
        warmup: epochs in which the learning rate rises linearly from a hundredth.
        smoothing: of labels, from 0 (none) to below 1.
        ema: decay of an exponential moving average of the weights, such as 0.999, which is what is evaluated and kept
            then; 0 for none. It is smaller at first: at most ``(1 + steps) / (10 + steps)``.
        mixed: mixed precision: bfloat16, or float16 with scaled gradients where a GPU lacks it.
        augment: some of :data:`AUGMENTATIONS`; needs torchvision.

    Raises:
        InvalidValue: a value that cannot be used.
        MissingExtra: augmentation is asked for, and torchvision is not installed.
    """

    epochs: int = 30
    batch: int = 64
    optimizer: str = "sgd"
    rate: float | None = None
    momentum: float = 0.9
    decay: float | None = None
    warmup: float = 0.0
    smoothing: float = 0.0
    ema: float = 0.0
    mixed: bool = False
    augment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise InvalidValue(
                f"a training needs at least 1 epoch and 2 images per batch; got {self.epochs} and {self.batch}"
            )
        if self.optimizer not in OPTIMIZERS:
            raise InvalidValue(f"the optimizer is {' or '.join(OPTIMIZERS)}; got {self.optimizer!r}")
        rate, decay = OPTIMIZERS[self.optimizer]
        object.__setattr__(self, "rate", rate if self.rate is None else float(self.rate))
        object.__setattr__(self, "decay", decay if self.decay is None else float(self.decay))
        object.__setattr__(self, "augment", tuple(self.augment))
        for name, low, high in (
            ("rate", 0.0, math.inf), ("decay", 0.0, math.inf), ("momentum", 0.0, 1.0), ("smoothing", 0.0, 1.0),
            ("ema", 0.0, 1.0), ("warmup", 0.0, float(self.epochs)),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value < high or (name == "rate" and value == 0):
                raise InvalidValue(f"{name} is a number from {low:g} to below {high:g}; got {value:g}")
        if self.optimizer == "sgd" and self.momentum == 0:
            raise InvalidValue("momentum is above 0, as Nesterov's method needs one")
        if strange := [name for name in self.augment if name not in AUGMENTATIONS]:
            raise InvalidValue(f"augmentation {strange[0]!r}; there are {', '.join(AUGMENTATIONS)}")
        if self.augment:
            _transforms()

    def to_dict(self) -> dict[str, Any]:
        """The epochs, and what is not so by default, JSON-able; the inverse of :meth:`from_dict`."""
        usual = asdict(Recipe(self.epochs, optimizer=self.optimizer)) | {"optimizer": "sgd", "epochs": 0}
        found = {name: value for name, value in asdict(self).items() if value != usual[name]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @classmethod
    def from_dict(cls, content: Any) -> Recipe:
        """A recipe that was written down.

        Raises:
            InvalidValue: it is none.
        """
        try:
            return cls(**content)
        except TypeError as error:
            raise InvalidValue(f"{content!r} is no recipe of a training: {error}") from None

    def __str__(self) -> str:
        """In words, without what it leaves out."""
        parts = [f"{self.epochs} epochs", f"{self.optimizer} {self.rate:g}", f"batches of {self.batch}"]
        parts += [f"{name} {getattr(self, name):g}" for name in ("warmup", "smoothing", "ema") if getattr(self, name)]
        return ", ".join([*parts, *(["mixed precision"] if self.mixed else []), *self.augment])


@dataclass(frozen=True)
class Job:
    """One training of one network.

    Args:
        space, arch, build_options: the network.
        training: images to train on.
        evaluated: images to evaluate on, by name ("validation").
        classes: number of classes of the images; None where it is not known.
        recipe, seed, device: of the training.
        at: epochs after which it is evaluated, ascending; the training ends with the last.
        folder: for its checkpoint, its results and its weights; None to keep nothing.
        known_as: what tells the training from others; a folder that holds another is refused.
        finite: whether a loss that is not finite is an error.
        start: the state with which the training of an architecture begins; None for random weights.
        problem: what the network is trained for and judged by.
    """

    space: SearchSpace
    arch: Archs
    build_options: Mapping[str, Any]
    training: Part
    evaluated: Mapping[str, Part]
    classes: int | None
    recipe: Recipe
    seed: int
    device: str
    at: tuple[int, ...]
    folder: Path | None = None
    known_as: str = ""
    finite: bool = True
    start: Callable[[Archs], Mapping[str, Tensor]] | None = None
    problem: Problem = CLASSIFICATION

    @property
    def logits(self) -> Logits:
        """How to find its outputs among several tensors."""
        if self.problem.name != CLASSIFICATION.name:
            return Logits(self.build_options.get("num_classes"))
        if self.classes is not None:
            return Logits(self.classes, dimensions=2)
        least = max(int(part.labels.max()) for part in (self.training, *self.evaluated.values())) + 1
        return Logits(self.build_options.get("num_classes"), least=least, dimensions=2)


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    Args:
        errors: %, by epoch, by the name of the images; of other problems, what is minimised (:meth:`Problem.badness`).
        seconds: processor time, over all its runs.
        network: in evaluation mode; None where the results were read from its folder.
    """

    errors: Mapping[int, Mapping[str, float]]
    seconds: float
    network: nn.Module | None = None


def train(job: Job, progress: Progress | None = None, every: float = CHECKPOINT_SECONDS) -> Outcome:
    """Train a network, going on from the checkpoint in its folder, if there is one.

    On one kind of machine the weights depend on the job only, wherever it was interrupted.

    Args:
        progress: called with (epochs done, epochs in all).
        every: seconds between checkpoints.

    Raises:
        DataError: its folder holds another training, or something that cannot be read.
        Exception: whatever the network raises.
    """
    kept = None if job.folder is None else read_outcome(job.folder, job.known_as)
    if kept is not None and set(job.at) <= kept.errors.keys():
        if progress is not None:
            progress(job.at[-1], job.at[-1])
        return kept
    with own_random_state(job):
        fit = Fit(job)
        fit.resume()
        fit.run(progress, every)
        return fit.finish()


def read_outcome(folder: Path, known_as: str) -> Outcome | None:
    """What a training kept of its results; None where it has none yet.

    Raises:
        DataError: it is another training's, or cannot be read.
    """
    file = folder / DONE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = content["training"]
        errors = {
            int(epoch): {str(name): float(error) for name, error in found.items()}
            for epoch, found in content["errors"].items()
        }
        seconds = float(content["seconds"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{file} is not the result of a training: {error}; remove it") from error
    _check_known(folder, known, known_as)
    return Outcome(errors, seconds)


def _check_known(folder: Path, known: Any, known_as: str) -> None:
    if known != known_as:
        raise DataError(
            f"{folder} holds a training with other settings, data or code; give another folder, or remove it"
        )


def _transforms() -> Any:
    """Torchvision's transforms.

    Raises:
        MissingExtra: it is not installed.
        InvalidValue: it was made for another PyTorch.
    """
    try:
        return import_extra("torchvision.transforms.v2", "images")
    except RuntimeError as error:
        raise InvalidValue(f"augmentation: torchvision does not work with this PyTorch: {reason_of(error)}") from error


def fingerprint(*what: Any) -> str:
    """A short hash of JSON-able settings."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=repr).encode()).hexdigest()[:16]


@contextlib.contextmanager
def own_random_state(job: Job) -> Iterator[None]:
    """PyTorch's random state, seeded within and as before afterwards."""
    import torch

    device = torch.device(job.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(job.seed)
        yield


class Fit:
    """A training in progress."""

    def __init__(self, job: Job):
        import torch

        from nastk.spaces._networks import build_network, initialise, is_lazy

        self.job, self.recipe = job, job.recipe
        self.device = torch.device(job.device)
        self.started, self.seconds_before = time.process_time(), 0.0
        self.epoch = 0
        self.errors: dict[int, dict[str, float]] = {}
        self.training = job.training.to(self.device)
        self.evaluated = {name: part.to(self.device) for name, part in job.evaluated.items()}
        self.generator = torch.Generator().manual_seed(job.seed)
        network = build_network(job.space, job.arch, **job.build_options)
        if is_lazy(network):
            initialise(network, self.training.batch(torch.arange(2))[0].cpu())
        if job.start is not None:
            _take_weights(network, job.start(job.arch))
        self.network = self.prepared(network)
        self.forward = self.forward_of(self.network)
        self.logits = job.logits
        self.parts = max(round(len(self.training) / self.recipe.batch), 1)
        self.optimiser = self._optimiser()
        self.schedule = self._schedule()
        self.average = self._average()
        self.dtype, scaled = self._precision()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)

    # ---- parts

    def prepared(self, network: nn.Module) -> nn.Module:
        """The network on its device, before the optimiser takes its parameters."""
        return network.to(self.device).train()

    def forward_of(self, network: nn.Module) -> Callable[..., Any]:
        """What is called in a training step."""
        return network

    def share(self, places: Tensor) -> tuple[Tensor, float]:
        """The images of a batch that are trained on here, and the weight of their mean loss."""
        return places, 1.0

    def _optimiser(self) -> torch.optim.Optimizer:
        import torch

        rate, decay = self.recipe.rate, self.recipe.decay
        assert rate is not None
        assert decay is not None
        if self.recipe.optimizer == "adamw":
            return torch.optim.AdamW(self.network.parameters(), rate, weight_decay=decay)
        return torch.optim.SGD(
            self.network.parameters(), rate, momentum=self.recipe.momentum, weight_decay=decay, nesterov=True
        )

    def _schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        from torch.optim import lr_scheduler

        steps = self.recipe.epochs * self.parts
        warm = min(round(self.recipe.warmup * self.parts), steps - 1)
        if not warm:
            return lr_scheduler.CosineAnnealingLR(self.optimiser, steps)
        rise = lr_scheduler.LinearLR(self.optimiser, 0.01, total_iters=warm)
        fall = lr_scheduler.CosineAnnealingLR(self.optimiser, steps - warm)
        return lr_scheduler.SequentialLR(self.optimiser, [rise, fall], [warm])

    def _average(self) -> Any:
        """The moving average of the weights; None where there is none."""
        if not self.recipe.ema:
            return None
        from torch.optim.swa_utils import AveragedModel

        most = self.recipe.ema

        def averaged(mean: Tensor, now: Tensor, steps: Any) -> Tensor:
            n = float(steps)
            return mean + (now - mean) * (1.0 - min(most, (1.0 + n) / (10.0 + n)))

        return AveragedModel(self.network, avg_fn=averaged, use_buffers=True)

    def _precision(self) -> tuple[torch.dtype | None, bool]:
        """Type of mixed precision, and whether gradients are scaled."""
        import torch

        if not self.recipe.mixed:
            return None, False
        if self.device.type == "cuda" and not torch.cuda.is_bf16_supported():
            return torch.float16, True
        return torch.bfloat16, False

    @cached_property
    def _augment(self) -> Callable[[Tensor], Tensor] | None:
        """Random changes of each image of a batch for itself."""
        if not self.recipe.augment:
            return None
        import torch

        v2 = _transforms()
        height, width = self.training.source.shape[1:]
        steps = []
        if "crop" in self.recipe.augment:
            steps.append(v2.RandomCrop((height, width), padding=(max(width // 8, 1), max(height // 8, 1))))
        if "flip" in self.recipe.augment:
            steps.append(v2.RandomHorizontalFlip())
        change = v2.Compose(steps)
        return lambda images: torch.stack([change(image) for image in images])

    # ---- training

    def run(self, progress: Progress | None, every: float) -> None:
        """Train to the last epoch that is asked for, with checkpoints."""
        last = time.monotonic()
        until = self.job.at[-1]
        while self.epoch < until:
            self._train_epoch()
            self.epoch += 1
            if self.epoch in self.job.at:
                self.errors[self.epoch] = self.evaluate()
            if self.job.folder is not None and (self.epoch == until or time.monotonic() - last >= every):
                self.save()
                last = time.monotonic()
            if progress is not None:
                progress(self.epoch, until)

    def _train_epoch(self) -> None:
        import torch

        self.network.train()
        total = torch.zeros((), device=self.device)
        for places in torch.randperm(len(self.training), generator=self.generator).tensor_split(self.parts):
            total += self._step(places)
            self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
        if self.job.finite and not bool(torch.isfinite(total)):
            raise FloatingPointError(f"the training diverged: its loss is not finite in epoch {self.epoch + 1}")

    def _step(self, places: Tensor) -> Tensor:
        """One step of the optimiser on the images of these places; returns the loss."""
        import torch

        places, weight = self.share(places)
        x, y = self._batch(self.training, places)
        if self._augment is not None:
            x = self._augment(x)
        self.optimiser.zero_grad()
        with contextlib.nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype):
            found = self.job.problem.read(self.forward(x), self.logits)
            loss = self.job.problem.loss(found, y, self.recipe.smoothing)
        if weight != 1.0:
            loss = loss * weight
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach()

    def _batch(self, part: Part, places: Tensor) -> tuple[Tensor, Tensor]:
        x, y = part.batch(places)
        return x.to(self.device), y.to(self.device)

    @property
    def best(self) -> nn.Module:
        """The network that is evaluated and kept: with averaged weights, if they are."""
        return self.network if self.average is None else self.average.module

    def evaluate(self) -> dict[str, float]:
        """Errors in %, or what else the problem minimises, by the name of the images."""
        network, problem = self.best.eval(), self.job.problem
        return {
            name: error_of(network, part, self.logits, self.device, problem) for name, part in self.evaluated.items()
        }

    # ---- its folder

    def state(self) -> dict[str, Any]:
        """All that the training depends on from here."""
        import torch

        gpu = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {
            "training": self.job.known_as, "epoch": self.epoch, "errors": self.errors, "seconds": self.seconds,
            "network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(), "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "generator": self.generator.get_state(), "random": torch.get_rng_state(), "gpu": gpu,
        }  # fmt: skip

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        import torch

        assert self.job.folder is not None
        with atomic_path(self.job.folder / CHECKPOINT) as temporary:
            torch.save(self.state(), temporary)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one that is not beyond what is asked for."""
        import torch

        file = None if self.job.folder is None else self.job.folder / CHECKPOINT
        if file is None or not file.exists():
            return
        try:
            content = torch.load(file, map_location=self.device, weights_only=True)
            known = content["training"]
        except Exception as error:  # of a damaged file: unpickling errors of many kinds
            raise DataError(f"{file} is not the checkpoint of a training: {reason_of(error)}; remove it") from error
        _check_known(file.parent, known, self.job.known_as)
        passed = [epoch for epoch in self.job.at if epoch <= content["epoch"] and epoch not in content["errors"]]
        if content["epoch"] > self.job.at[-1] or passed:
            return  # it is beyond what is to be evaluated
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.schedule.load_state_dict(content["schedule"])
        self.scaler.load_state_dict(content["scaler"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.generator.set_state(content["generator"].cpu())
        torch.set_rng_state(content["random"].cpu())
        if content["gpu"] is not None:
            torch.cuda.set_rng_state(content["gpu"].cpu(), self.device)
        self.epoch, self.seconds_before = content["epoch"], content["seconds"]
        self.errors = {epoch: dict(found) for epoch, found in content["errors"].items()}

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.process_time() - self.started

    def _facts(self) -> dict[str, Any]:
        """What the file of the weights says of them."""
        error, problem = self.errors[self.epoch].get("validation", math.nan), self.job.problem
        return {
            "space": self.job.space.whole.name, "arch": self.job.space.format(self.job.arch), "seed": self.job.seed,
            "epochs": [self.epoch], "value": problem.value(error), "metric": problem.metric, "unit": problem.unit,
            "training": str(self.recipe),
        }  # fmt: skip

    def finish(self) -> Outcome:
        """Keep the weights and the results; the checkpoint goes when nothing is left to train."""
        network = self.best.eval()
        folder = self.job.folder
        if folder is not None:
            write_weights(folder, network, self._facts())
            content = {"training": self.job.known_as, "epochs": self.epoch, "errors": self.errors}
            more = {"seconds": self.seconds, "seed": self.job.seed, "recipe": asdict(self.recipe)}
            write_text(folder / DONE, json.dumps({**content, **more}) + "\n")
            if self.epoch >= self.recipe.epochs:
                (folder / CHECKPOINT).unlink(missing_ok=True)
        return Outcome(self.errors, self.seconds, network)


def _take_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Begin with these weights; a block-wise supernet has no statistics of batches, which are then as they were.

    Raises:
        ValueError: they are of another network.
    """
    found = network.load_state_dict(dict(state), strict=False)
    lacking = {name for name, _ in network.named_parameters()} & set(found.missing_keys)
    if lacking or found.unexpected_keys:
        raise ValueError(
            f"weights to begin with are of another network: {sorted([*lacking, *found.unexpected_keys])[0]}"
        )


def error_of(network: nn.Module, part: Part, logits: Logits, device: Any, problem: Problem = CLASSIFICATION) -> float:
    """Share of images that a network in evaluation mode takes for another class, %, or what else a problem
    minimises."""
    import torch

    total = 0.0
    with torch.inference_mode():
        for x, y in part.batches(EVALUATED):
            total += float(problem.scores(problem.read(network(x.to(device)), logits), y.to(device)).double().sum())
    return problem.badness(total / len(part))

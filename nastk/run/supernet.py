"""A supernet that is trained before a search, and is a lower fidelity of the accuracies that are paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nastk.data.images import ImageData, read_again, read_images
from nastk.devices import training_device
from nastk.errors import InvalidValue, Unsupported
from nastk.oracles._fitting import options_for
from nastk.oracles.base import Oracle
from nastk.oracles.of_network import OfNetwork
from nastk.oracles.supernet import SupernetAccuracy
from nastk.oracles.training import Training
from nastk.oracles.translation import TranslationLoss
from nastk.problems import CLASSIFICATION
from nastk.search.base import LowerFidelity, Objective, Searcher
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.precisions import WithPrecision
from nastk.supernets._kept import KeptSupernet, Sample
from nastk.supernets._kept_translator import KeptSuperTransformer

JUDGED = 100
"""Random networks that a supernet judges before a search, from which the predictors learn what it says of others: more
of them are a better picture of it, and take longer."""

Progress = Callable[[int, int, str], None]


def supernet_facts(
    space: SearchSpace, asked: str | Mapping[str, Any], data: Any, image_size: int | None, seed: int
) -> tuple[dict[str, Any], ImageData]:
    """The description of a supernet, JSON-able, and the images that it is trained on.

    Args:
        space: of its networks.
        asked: name of the method, or a table of it (`method`) and options of its class.
        data, image_size: see :func:`nastk.data.images.read_images`.
        seed: of its training.

    Raises:
        UnknownName: no such method.
        InvalidValue: an option or images that cannot be used.
        Unsupported: the space builds no networks.
    """
    table = {"method": asked} if isinstance(asked, str) else dict(asked)
    method = table.pop("method", None)
    if not isinstance(method, str):
        raise InvalidValue(f"a supernet needs the name of its method, such as 'sandwich'; got {method!r}")
    images = read_images(data, image_size)
    if images.problem.name != CLASSIFICATION.name:
        raise Unsupported(f"a search's supernet judges by accuracy, and {images.name} are for {images.problem.name}")
    kept = KeptSupernet(_networks(space), images, method, table, options_for(_networks(space), images), seed)
    return kept.asked(), images


def kept_supernet(space: SearchSpace, facts: Mapping[str, Any], images: ImageData | None = None) -> KeptSupernet:
    """The supernet of a description; errors as of :func:`supernet_facts`."""
    data = images or read_again(facts["data"], facts.get("image_size"), facts.get("hash"))
    return KeptSupernet(
        _networks(space), data, str(facts["method"]), facts.get("options"), facts.get("build"), facts.get("seed", 0),
        training_device(),
    )  # fmt: skip


def _networks(space: SearchSpace) -> SearchSpace:
    """The space without a choice of precisions, which no supernet knows."""
    return space.networks if isinstance(space, WithPrecision) else space


def judged_by(space: SearchSpace, objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """The expensive objectives of which a supernet says something: accuracies and errors.

    Raises:
        InvalidValue: there are none.
    """
    found = tuple(o for o in objectives if o.expensive and any(word in o.oracle.name for word in ("accuracy", "error")))
    if not found:
        raise InvalidValue(
            "a supernet tells something of accuracies, and this search pays for none; leave it out, or add the "
            "objective accuracy"
        )
    return found


def searcher_with(searcher: Searcher, name: str, lower: Mapping[str, LowerFidelity]) -> None:
    """Have a searcher use lower fidelities.

    Raises:
        Unsupported: it cannot.
        InvalidValue: it cannot with its predictors or objectives.
    """
    if not searcher.uses_lower:
        raise Unsupported(
            f"the searcher {name} cannot use a supernet; predictor, multi-fidelity, ofa2, modnas and pymoo:nsga2 can"
        )
    searcher.use_lower(lower)


@dataclass
class SupernetOfSearch:
    """A supernet that a search trains first, or reads where an earlier one kept it.

    Args:
        kept: the supernet.
        space: that is searched.
        lower: objectives whose lower fidelity it is; none where its accuracies, or losses, are the objective.
        searcher: uses it, called `searcher_name`.

    Attributes:
        said: what was trained, in one line, after :meth:`train`.
    """

    kept: KeptSupernet | KeptSuperTransformer
    space: SearchSpace
    lower: tuple[Objective, ...]
    searcher: Searcher
    searcher_name: str
    said: str = ""
    sample: Sample | None = None

    def check(self) -> None:
        """Refuse a searcher that cannot use it, and a space of which it cannot be, before it is trained; errors as of
        :func:`searcher_with` and :meth:`nastk.supernets.Supernet.check`."""
        if not self.is_kept:
            self.kept.check()
        if self.lower:
            empty = LowerFidelity(self.space.sample(0, 0), np.empty(0), lambda archs: np.empty(len(archs)))
            searcher_with(self.searcher, self.searcher_name, {o.name: empty for o in self.lower})

    @property
    def is_kept(self) -> bool:
        return self.kept.is_kept

    @property
    def plan(self) -> str:
        """What :meth:`train` will do, in one line.

        Raises:
            NastkError: it needs more memory than there is.
        """
        if self.is_kept:
            return f"{self.kept.called} is kept in {self.kept.folder}: it is not trained again"
        does = "going on with the training of" if self.kept.is_begun else "training"
        return f"{does} {self.kept.called}, {self.kept.steps} steps{self._memory()}"

    def _memory(self) -> str:
        """What its training needs, to be read behind what it is; a SuperTransformer's is little."""
        return f"; memory: {self.kept.memory()}" if isinstance(self.kept, KeptSupernet) else ""

    def train(self, progress: Progress | None = None) -> None:
        """Train it, unless it is kept; have it judge some networks; tell the searcher.

        Raises:
            NastkError: it cannot be trained, or needs more memory than there is.
        """
        if not self.is_kept:
            self._memory()
        net = self.kept.get(progress)
        if self.lower and isinstance(self.kept, KeptSupernet):
            self.sample = self.kept.judge_some(JUDGED, progress)
            lower = {o.name: self._lower(o, self.kept, self.sample) for o in self.lower}
            searcher_with(self.searcher, self.searcher_name, lower)
        seconds = self.kept.seconds
        judged = f", {self.sample.seconds:.1f} s to judge {len(self.sample.archs)} networks" if self.sample else ""
        cost = f"{self.kept.steps} steps took {seconds:.1f} s of processor time{judged}"
        self.said = f"{self.kept.called}: {cost}; {net.unshared}"

    def _lower(self, objective: Objective, kept: KeptSupernet, sample: Sample) -> LowerFidelity:
        def ask(archs: Archs) -> Any:
            networks = self.space.network_of(archs) if isinstance(self.space, WithPrecision) else archs
            return objective.sign * kept.evaluate(networks).loss

        archs = sample.archs
        if isinstance(self.space, WithPrecision):
            archs = np.column_stack([archs, np.zeros(len(archs), dtype=np.int64)])
        return LowerFidelity(archs, objective.sign * sample.loss, ask)

    @property
    def elapsed(self) -> float:
        """Seconds that its training took, in whichever search that was, and judging: by the clock that records of
        evaluations have their cost from."""
        return self.kept.elapsed + (self.sample.elapsed if self.sample else 0.0)

    def facts(self, seconds_per_training: float | None) -> dict[str, Any]:
        """What a result says of it, JSON-able.

        Args:
            seconds_per_training: mean cost of the accuracies that were paid for; None where none were.
        """
        paid = None if not seconds_per_training else self.elapsed / seconds_per_training
        return {
            **self.kept.asked(), "steps": self.kept.steps, "seconds": self.kept.seconds,
            "judged": len(self.sample.archs) if self.sample else 0,
            "judging_seconds": self.sample.seconds if self.sample else 0.0,
            "elapsed": self.elapsed, "trainings": paid,
            "lower_fidelity_of": [o.name for o in self.lower], "folder": str(self.kept.folder),
        }  # fmt: skip


def shipped(objectives: Sequence[Objective]) -> SupernetAccuracy | TranslationLoss | None:
    """The objective that is a supernet's own accuracy, or loss; None where there is none."""
    oracles = [o.oracle.oracle if isinstance(o.oracle, OfNetwork) else o.oracle for o in objectives]
    return next((oracle for oracle in oracles if isinstance(oracle, (SupernetAccuracy, TranslationLoss))), None)


def images_of(objectives: Sequence[Objective]) -> ImageData | None:
    """The images that an objective trains on; None where none does."""
    found: list[Oracle] = [o.oracle for o in objectives]
    return next((o.data for o in found if isinstance(o, Training) and o.data is not None), None)

"""A search that is ready to start or to be resumed: its evaluation, its history, its verification."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.data.fetch import default_home
from nastk.errors import InvalidValue, StorageError
from nastk.evaluation import evaluate_together
from nastk.files import check_outputs
from nastk.history import History
from nastk.identity import earlier_identity, evaluation_identity, files_identity, study_identity
from nastk.predictors._local_sources import LocalSources, pretrain
from nastk.result import Result
from nastk.search.base import Objective, Searcher
from nastk.spaces.base import Archs
from nastk.study import Progress, Study
from nastk.workers.base import Workers
from nastk.workers.factory import make_workers

if TYPE_CHECKING:
    from nastk.predictors.few_shot_gp import FewShotGP
    from nastk.storage import Computed
from nastk.run.description import SearchDescription
from nastk.run.supernet import SupernetOfSearch

LARGEST_BATCH = 5
"""Largest default batch in a search of several objectives. Each ask refits, which takes seconds; a larger batch is
faster, and chooses by fewer results."""

LEAST_ROUNDS = 10
"""Least number of batches that a budget is divided into by default: with fewer, a search would hardly learn from its
results."""

FILES = "nastk-networks"
"""Folder, in the current one, for the files of the networks of a search whose history is in memory."""


class Run:
    """A search that is ready to start or to be resumed.

    Attributes:
        description: of the search.
        searcher, history: created or opened for it.
        budget: evaluations of each expensive objective.
        sources: networks of this machine that its few-shot predictors learn first; None where they need none.
        networks: folder in which its trainings keep files of their networks; None where none does, or before a search
            whose history is in memory begins.
        supernet: that is trained before it; None where none is.
        other_seeds: what is trained of the front again, with each of some other seeds, by their number.
        result: of the search, after :meth:`search`.
    """

    result: Result
    networks: Path | None = None
    supernet: SupernetOfSearch | None = None
    other_seeds: Mapping[int, Sequence[Objective]]

    def __init__(
        self,
        description: SearchDescription,
        searcher: Searcher,
        budget: dict[str, int],
        history: History,
        sources: SourcesToLearn | None = None,
    ):
        self.description, self.searcher, self.budget, self.history = description, searcher, budget, history
        self.sources, self.other_seeds = sources, {}
        self._study: Study | None = None
        self._workers: Workers | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Identity of the study; see `nastk.identity`."""
        return study_identity(self.description, self.searcher)

    @property
    def batch(self) -> int:
        """Proposals to ask for at a time."""
        if self.description.batch is not None:
            return self.description.batch
        most = max(self.budget.values(), default=1)
        if self.searcher.expensive and set(self.searcher.expensive) <= set(self.searcher.few_shot):
            return max(1, most)  # measurements alone: they take turns, which makes them comparable
        if len(self.searcher.objectives) == 1:
            return 1
        return min(max(1, most // LEAST_ROUNDS), LARGEST_BATCH)

    def evaluate_by(
        self,
        executor: Executor | Workers | None = None,
        workers: int | None = None,
        dask: Any = None,
        timeout: float | None = None,
        memory_limit: str | float | None = None,
        logs: str | os.PathLike[str] | None = None,
    ) -> None:
        """Who evaluates, before the search begins; arguments as of :func:`search`.

        Args:
            logs: folder for what worker processes print; by default a temporary one.
        """
        self._workers = make_workers(executor, workers, dask, timeout, memory_limit, logs)

    def search(
        self,
        progress: Progress | None = None,
        executor: Executor | Workers | None = None,
        workers: int = 1,
        time: float | None = None,
        cost: float | None = None,
    ) -> Result:
        """Spend the remaining budget; arguments and errors as of :class:`nastk.Study`."""
        if executor is not None:
            self.evaluate_by(executor, workers)
        if self.supernet is not None and cost is not None:
            self.train_supernet(progress)
            cost = self._cost_left(cost, self.supernet)
        self._study = Study(
            self.searcher, self.budget, self.history, self.batch, self._workers, 1, progress, self.description.retries,
            self.description.count_failures, time, cost,
        )  # fmt: skip
        self.learn_sources(progress)
        self.train_supernet(progress)
        self._take_known()
        if self._keeps_networks and self.networks is None:
            self._keep_networks_in(_new_folder(Path(FILES)))
        self.result = self._study.run()
        self.result.description = self.description.to_dict()
        if self.sources is not None:
            self.result.notes.append(f"{self.sources.said}.")
        if self.supernet is not None:
            self._say_supernet(self.supernet)
        if self.networks is not None and self.networks.is_dir():
            self.result.notes.append(f"What the trainings kept of their networks is in {self.networks}.")
        return self.result

    def learn_sources(self, progress: Progress | None = None) -> None:
        """Measure what is needed here as sources, and let the predictors learn them; once, before the search."""
        if self.sources is not None and not self.sources.learned:
            self.sources.learn(progress)

    def train_supernet(self, progress: Progress | None = None) -> None:
        """Train the supernet, unless it is kept, and have the searcher use it; once, before the search."""
        if self.supernet is not None and not self.supernet.said:
            self.supernet.train(progress)

    def _cost_left(self, cost: float, supernet: SupernetOfSearch) -> float:
        if cost <= supernet.elapsed:
            raise InvalidValue(f"cost={cost:g} s leaves nothing for a search: {supernet.said}")
        return cost - supernet.elapsed

    def _say_supernet(self, supernet: SupernetOfSearch) -> None:
        """Have the result say what the supernet is, and what it cost."""
        names = {o.name for o in supernet.lower}
        spent = [r.cost for r in self.history.records("search") if r.objective in names and r.fidelity in self._full]
        spent = [cost for cost in spent if math.isfinite(cost) and cost > 0]
        each = sum(spent) / len(spent) if spent else None
        self.result.supernet = supernet.facts(each)
        note = f"{supernet.said}."
        if each is not None:
            note = f"{note[:-1]}, as much as {supernet.elapsed / each:.1f} of the trainings ({each:.1f} s each)."
        if not supernet.lower:
            note += f" {supernet.kept.shipping}"
        self.result.notes.append(f"{note[0].upper()}{note[1:]}")

    @property
    def _full(self) -> set[float | None]:
        """Fidelities of full evaluations."""
        return {None, *(o.target for o in self.searcher.objectives)}

    def _take_known(self) -> None:
        """Record the values that a closed oracle has, which no study evaluates; they count against no budget."""
        for o in self.searcher.objectives:
            new = [arch for arch in o.oracle.known if self.history.find(arch, o.name, o.fidelity) is None]
            if new:
                records = evaluate_together(o, np.array(new), o.fidelity)
                self.history.add([replace(record, charged=False) for record in records])

    def verify(self, progress: Progress | None = None) -> Result:
        """Measure the proposed front, see :meth:`nastk.Result.settle`, and train it with other seeds where asked for.

        Nothing is evaluated where the time of the search is up.
        """
        if self.description.verify and self._study is not None and self._study.is_time_up:
            self.result.notes.append("The front was not verified: time was up.")
        elif self.description.verify:
            self.result.settle(self.description.verify, progress)
        if self.other_seeds and not (self._study is not None and self._study.is_time_up):
            for number, objectives in self.other_seeds.items():
                for o in objectives:
                    self._place_seed(o, number)
            self.result.train_again(self.other_seeds, progress)
        return self.result

    def _place_seed(self, objective: Objective, number: int) -> None:
        """Keep files of a training with another seed apart, so that none continues one of the search."""
        if objective.oracle.needs_folder:
            own = next(o for o in self.searcher.objectives if o.name == objective.name)
            folder = own.oracle.folder or own.oracle.study_folder
            objective.oracle.folder = ""
            objective.oracle.study_folder = f"{folder}-seed-{self.description.seed + number}"

    def keep_in(self, storage: str | os.PathLike[str], study: str | None = None, reuse: bool = False) -> None:
        """Keep the history in a database, and go on with what it has of this search; before the search begins.

        Args:
            storage: SQLAlchemy URL, or the path of a SQLite file.
            study: its name there; by default it is found by its identity.
            reuse: whether what other studies there evaluated counts against the budget.

        Raises:
            StudyHeld: another process runs this study.
        """
        self.history = self._open(storage, study, reuse)
        self._place_networks()

    @property
    def _keeps_networks(self) -> bool:
        return any(o.oracle.needs_folder and not o.oracle.folder for o in self.searcher.objectives)

    def _place_networks(self) -> None:
        """Let the oracles keep files of networks beside the history: next to a SQLite file, else in ``NASTK_HOME``."""
        if not self._keeps_networks:
            return
        folder = self.history.networks
        if folder is None and self.history.place:
            name = hashlib.sha256(self.history.place.encode()).hexdigest()[:16]
            folder = default_home() / "networks" / name
        if folder is None:
            return  # a history in memory: a new folder, once the search begins
        self._keep_networks_in(folder)
        earlier = {Path(o.oracle.study_folder) for o in self.searcher.objectives if o.oracle.needs_folder}
        if not len(self.history) and any(own.is_dir() and any(own.iterdir()) for own in earlier):
            self.history.notes.append(
                f"{folder} holds what earlier trainings kept, and this history nothing: networks that are trained "
                "again find it there; for a fresh start move it away."
            )

    def _keep_networks_in(self, folder: Path) -> None:
        self.networks = folder.absolute()
        check_outputs([], [self.networks])
        for o in self.searcher.objectives:
            if o.oracle.needs_folder:
                o.oracle.study_folder = str(self.networks / files_identity(o))

    def save(self, storage: str | os.PathLike[str]) -> None:
        """Copy the history into a database from which the same search can be resumed.

        Args:
            storage: SQLAlchemy URL, or the path of a new SQLite file.
        """
        saved = self._open(storage, None)
        saved.add(self.history.records(), self.history.state())
        saved.close()

    def _open(self, storage: str | os.PathLike[str], study: str | None, reuse: bool = False) -> History:
        from nastk.storage import open_history

        identities = {o.name: evaluation_identity(o) for o in self.searcher.objectives}
        earlier = earlier_identity(self.description, self.searcher)
        about, computed = self._about(), self._computed()
        return open_history(storage, study, self.identity, identities, earlier, about, computed, reuse)

    def _about(self) -> dict[str, Any]:
        """What those that look at the study in its database should know; see `nastk.studies.Goal`."""
        goals = [
            {
                "name": o.name, "unit": o.unit, "direction": o.direction, "source": o.oracle.source,
                "expensive": o.expensive, "kind": o.oracle.kind,
                "target": None if o.target is None else float(o.target),
            }
            for o in self.searcher.objectives
        ]  # fmt: skip
        budget = {name: int(count) for name, count in self.budget.items()}
        return {"goals": goals, "budget": budget, "search": self.description.to_dict()}

    def _computed(self) -> Computed | None:
        """Values of the free objectives, of what was evaluated."""
        free = {o.name: j for j, o in enumerate(self.searcher.objectives) if not o.expensive}
        if not free:
            return None

        def computed(archs: Archs) -> dict[str, list[float]]:
            values = self.searcher.values_of(archs)
            for j in free.values():
                untold = np.isnan(values[:, j])  # such as what was measured in the end alone
                if untold.any():
                    # what was evaluated is saved in any case: after an error that ended the search this may fail too,
                    # and these networks then have no value, as `nastk front` says
                    with contextlib.suppress(Exception):
                        values[untold, j] = self.searcher.objectives[j].oracle(archs[untold])
            return {name: values[:, j].tolist() for name, j in free.items()}

        return computed

    def close(self) -> None:
        """Let go of the database, and of the workers."""
        try:
            if self._workers is not None:
                self._workers.close()
            if hasattr(self, "result"):
                self.result.workers = None
        finally:
            self.history.close()


class SourcesToLearn:
    """Networks of this machine as sources of few-shot predictors.

    Args:
        local: the measurements.
        predictors: that learn them, by objective.

    Attributes:
        learned: whether the predictors have learned them.
        said: what was learned, in one line.
    """

    def __init__(self, local: LocalSources, predictors: Mapping[str, FewShotGP]):
        self.local, self.predictors = local, predictors
        self.learned, self.said = False, ""

    def learn(self, progress: Progress | None = None) -> None:
        """Measure what is not kept from before, and pretrain; where nothing can be measured here, say so and go on."""
        self.said = pretrain(self.predictors.values(), self.local, progress)
        self.learned = True


def _new_folder(path: Path) -> Path:
    """Make a folder of this name, or with a number behind it, that nothing has used."""
    for i in range(10_000):
        folder = path.with_name(f"{path.name}-{i}") if i else path
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"cannot make the folder {folder}: {error.strerror or error}") from error
        return folder
    raise StorageError(f"{path} and the next 9,999 names are taken")

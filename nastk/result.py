"""The result of a search: the front, the source and uncertainty of each value, and files of it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nastk.errors import DataError, Unsupported
from nastk.evaluation import NO_VALUE, Purpose, Record, key_of, of_one_call, of_seed
from nastk.files import write_text
from nastk.history import History
from nastk.metrics import hypervolume, nondominated
from nastk.parallel import Uninterrupted
from nastk.search.base import Objective, Searcher
from nastk.search.delivery import Delivery, Measured, Promise
from nastk.search.retrained import Retrained
from nastk.spaces.base import Archs
from nastk.workers.base import Call, InProcess, Workers

if TYPE_CHECKING:
    import pandas as pd

    from nastk.report.chart import Chart
    from nastk.search.choice_effects import ChoiceEffects


SCHEMA = 1
"""Version of ``result.json``; a file without one was written before there were versions. It grows where a reader of the
earlier version would misread a file; a new field alone is no new version."""


FILE = "result.json"
"""What a search writes its result to, in the folder of its results."""


def read_content(path: str | os.PathLike[str]) -> tuple[Path, Any]:
    """The ``result.json`` of a search, from its own path or that of its folder, and the JSON in it, not checked.

    Raises:
        DataError: there is no such file, or it is no JSON.
    """
    file = Path(path)
    if file.is_dir():
        if not (file / FILE).exists():
            raise DataError(f"the folder {file} holds no {FILE}, which nastk search writes")
        file = file / FILE
    try:
        return file, json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if file.suffix.lower() != ".json":  # another of the files that a search writes
            raise DataError(f"{file} is not a result; give the path of {FILE}, or of its folder") from error
        raise DataError(f"{file} is damaged or not a result: {error}") from error


def check_schema(content: Any, path: str | os.PathLike[str]) -> None:
    """Refuse a result that a later version of nastk wrote.

    Args:
        content: the JSON of the file.
        path: of the file, for the message.

    Raises:
        DataError: of another version, or something else than a result of a search.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a result of nastk search")
    version = content.get("schema", 0)
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise DataError(f"{path}: its schema is {version!r}, must be a whole number")
    if version > SCHEMA:
        raise DataError(
            f"{path} was written by a newer version of nastk (schema {version}; this one reads up to {SCHEMA}): pip "
            "install --upgrade nastk"
        )


SOURCES = {"estimate": "predicted", "table": "table", "measured": "measured", "computed": "computed"}
"""Kinds of values as the columns ``<name>_source`` call them: those of records, but "predicted" for an estimate."""


Z95 = 1.96
"""Standard normal quantile at 97.5 %: half the width of a 95 % interval in standard deviations."""

OF_ONE_NETWORK = ("p50", "p90", "repeats")
"""Details of a measurement that are of one network, and not of the machine."""

PURPOSES: tuple[Purpose, Purpose] = ("verify", "search")
"""Where a value is looked for, in this order: a later measurement says more."""


class Result:
    """A finished (or interrupted) search.

    Args:
        searcher: the searcher, with its space, objectives and constraints.
        history: every record.
        retries: how often a transient failure is tried again when it is verified.
        workers: that verify, each evaluation in a process of its own; None, or others, for this process. A search that
            has ended has let go of its own.

    Attributes:
        verification: predicted against measured, after :meth:`verify`; None before.
        proposed: the front as the searcher proposed it, ``(n, d)``, after :meth:`settle`; None before.
        promise: how far what is delivered keeps the limits, after :meth:`settle` measured it again; None before, and
            where nothing is measured.
        seeds: with how many other seeds the front was trained, by :meth:`train_again`.
        delivery: what chose the networks that :meth:`settle` measured again, with their values; None likewise.
        description: how the search was asked for, JSON-able (`nastk.run.SearchDescription`); None where it was put
            together by hand.
        command: the command line that searched; None where none did.
        supernet: that was trained before, and what it cost, JSON-able (`docs/result-json.md`); None where none was.
        notes: what a reader should know of how it came about, a sentence each: evaluations known from another study, an
            edited function, a search that stopped early.

    Raises:
        InvalidArchitecture: :meth:`describe` or :meth:`verify` is given an architecture outside of the space.
        InvalidValue: :meth:`hypervolume` is given a reference point of another length, or one that is not finite.
        StorageError: a file or the database cannot be written.
    """

    def __init__(self, searcher: Searcher, history: History, retries: int = 1, workers: Workers | None = None):
        self.searcher, self.history, self.retries = searcher, history, retries
        self.workers = workers
        self.space, self.objectives, self.constraints = searcher.space, searcher.objectives, searcher.constraints
        self.verification: pd.DataFrame | None = None
        self.proposed: Archs | None = None
        self.promise: Promise | None = None
        self.delivery: Delivery | None = None
        self.seeds = 0
        self.description: dict[str, Any] | None = None
        self.command: str | None = None
        self.supernet: dict[str, Any] | None = None
        self._by_network: tuple[int, dict[tuple[bytes, str, float | None, Purpose], Record]] | None = None
        self.notes: list[str] = []

    # ---- values

    @cached_property
    def front_archs(self) -> Archs:
        """The architectures of the front, ``(n, d)``, one for each network."""
        return self.searcher.one_of_each(self.searcher.recommend())

    @property
    def front(self) -> pd.DataFrame:
        """One row an architecture of the front.

        Columns: ``arch`` (text), ``index`` (where the space has one), and for each objective its value, ``<name>_std``
        and ``<name>_source``, which is "measured", "table", "computed" or "predicted". With constraints, ``violation``
        is the sum of their relative violations, 0 where an architecture is feasible.
        """
        return self.describe(self.front_archs)

    @property
    def feasible(self) -> bool:
        """Whether the front is feasible, by known and predicted values; where it was measured again, with the
        confidence that :meth:`settle` asks for."""
        if self.promise is not None and not self.promise.kept:
            return False
        table = self.front
        return bool(len(table)) and bool((table["violation"] <= 0).all()) if "violation" in table else bool(len(table))

    def describe(self, archs: Archs) -> pd.DataFrame:
        """The best known values of some architectures; columns as in :attr:`front`, sorted by the last objective."""
        import pandas as pd

        archs = self.space.as_archs(archs)
        columns: dict[str, Any] = {"arch": self.space.format_all(archs) if len(archs) else []}
        with contextlib.suppress(Unsupported):
            columns["index"] = self.space.index(archs)
        believed = self.searcher.estimate(archs) if len(archs) else {}
        values = np.full((len(archs), len(self.objectives)), np.nan)
        for j, objective in enumerate(self.objectives):
            value, std, source = self._known_values(objective.name, archs)
            open_ = np.array([s == "" for s in source], dtype=bool)
            if not objective.expensive:
                answer = objective.oracle.evaluate(archs, objective.fidelity)
                value, std, source = answer.value, answer.std, [SOURCES[objective.oracle.kind]] * len(archs)
            elif objective.name in believed and open_.any():
                prediction = believed[objective.name]
                value = np.where(open_, prediction.mean, value)
                std = np.where(open_, prediction.std, std)
                source = ["predicted" if o else s for o, s in zip(open_, source, strict=True)]
            values[:, j] = value
            columns |= {objective.name: value, f"{objective.name}_std": std, f"{objective.name}_source": source}
        if self.constraints:
            columns["violation"] = self.searcher.violation(values)
        table = pd.DataFrame(columns)
        return table.sort_values(self.objectives[-1].name, kind="stable", ignore_index=True)

    def _known_values(self, name: str, archs: Archs) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
        """Evaluated values, standard deviations and sources, verification before search; "" as source where unknown."""
        value, std = np.full(len(archs), np.nan), np.full(len(archs), np.nan)
        source = [""] * len(archs)
        objective = next(o for o in self.objectives if o.name == name)
        checked, told = (self.find(archs, objective, purpose) for purpose in PURPOSES)
        for i, records in enumerate(zip(checked, told, strict=True)):
            for record in records:
                if record is not None and record.status == "ok":
                    value[i], std[i] = record.value, record.std
                    source[i] = SOURCES[record.kind]
                    break
        return value, std, source

    def find(self, archs: Archs, objective: Objective, purpose: Purpose = "search") -> list[Record | None]:
        """For each of some architectures ``(n, d)`` its record, else that of an equal network
        (:meth:`SearchSpace.as_networks`), or None if there is neither."""
        found = [self.history.find(arch, objective.name, objective.fidelity, purpose) for arch in archs]
        missing = [i for i, record in enumerate(found) if record is None]
        if missing and not self.space.forms_differ:
            known = self._records_by_network()
            for i, network in zip(missing, self.space.as_networks(archs[missing]), strict=True):
                found[i] = known.get((network.tobytes(), objective.name, objective.fidelity, purpose))
        return found

    def _records_by_network(self) -> dict[tuple[bytes, str, float | None, Purpose], Record]:
        """The first record, of success where there is one, of each network, objective, fidelity and purpose; made again
        after further evaluations."""
        known = len(self.history)
        if self._by_network is None or self._by_network[0] != known:
            records = self.history.records()
            archs = np.array([r.arch for r in records], dtype=np.int64).reshape(-1, self.space.d)
            found: dict[tuple[bytes, str, float | None, Purpose], Record] = {}
            for record, row in zip(records, self.space.as_networks(archs), strict=True):
                key = (row.tobytes(), record.objective, record.fidelity, record.purpose)
                if key not in found or found[key].status == "failed":
                    found[key] = record
            self._by_network = known, found
        return self._by_network[1]

    @property
    def free_failures(self) -> dict[str, dict[tuple[int, ...], str]]:
        """Free objectives that have no value for architectures of the search: the reason by architecture."""
        found: dict[str, dict[tuple[int, ...], str]] = {}
        archs, values = self.searcher.archs_, self.searcher.values_
        for j, objective in enumerate(self.objectives):
            lacking = archs[:0] if objective.expensive else archs[np.isnan(values[:, j])]
            reasons = getattr(objective.oracle, "reasons", {})
            if len(lacking):
                texts = [self.space.format(arch) for arch in lacking]
                found[objective.name] = {
                    tuple(arch.tolist()): reasons.get(text, NO_VALUE) for arch, text in zip(lacking, texts, strict=True)
                }
        return found

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Failed evaluations of this search by objective and reason, most frequent first.

        Each ``{"objective", "purpose", "reason", "count", "of"}``; `of` is how many evaluations of the objective there
        were for this purpose. A free objective was evaluated on every architecture that the search knows.
        """
        counts: Counter[tuple[str, Purpose, str]] = Counter()
        tried: Counter[tuple[str, Purpose]] = Counter()
        for record in self.history.records():
            tried[record.objective, record.purpose] += not record.study
            failed = record.status == "failed" and not record.study
            counts[record.objective, record.purpose, record.reason] += failed
        for name, reasons in self.free_failures.items():
            tried[name, "search"] = len(self.searcher.archs_)
            counts.update((name, "search", reason) for reason in reasons.values())
        return [
            {"objective": name, "purpose": purpose, "reason": reason, "count": count, "of": tried[name, purpose]}
            for (name, purpose, reason), count in counts.most_common()
            if count
        ]

    def hypervolume(self, reference: Any) -> float:
        """Hypervolume of the front to a reference point ``(m,)`` in the objectives' units.

        Raises:
            InvalidValue: the reference has not one finite value for each objective.
        """
        costs = self.front[[o.name for o in self.objectives]].to_numpy(dtype=float) * self.searcher.signs
        point = np.asarray(reference, dtype=float)
        return hypervolume(costs, point * self.searcher.signs if point.shape == self.searcher.signs.shape else point)

    # ---- verification

    def verify(
        self,
        archs: Archs | None = None,
        progress: Callable[[int, int, str], None] | None = None,
        again: bool = False,
        wholly: NDArray[np.bool_] | None = None,
    ) -> pd.DataFrame:
        """Evaluate the values of the front, or of `archs`, that are only predicted, beyond the budget, and compare.

        Values that an earlier call, or the resumed run, verified are compared without another evaluation.

        Args:
            again: also measure again what the search has measured, where such a value differs from time to time
                (`Oracle.noisy`).
            wholly: of which of `archs` other values that are only predicted are evaluated too, ``(n,)``; by default of
                all.

        Returns:
            One row an architecture and objective: ``arch``, ``objective``, ``predicted``, ``predicted_std``,
            ``measured`` (NaN where it failed), ``error`` (relative). Kept in :attr:`verification`.
        """
        import pandas as pd

        archs = self.front_archs if archs is None else self.space.as_archs(archs)
        believed = self.searcher.estimate(archs) if len(archs) else {}
        told = {o.name: self.find(archs, o) for o in self.objectives}
        jobs = [
            (i, o)
            for i in range(len(archs))
            for o in self.objectives
            if o.expensive and not o.oracle.closed
            if (again and o.oracle.noisy)
            or (o.name in believed and told[o.name][i] is None and (wholly is None or wholly[i]))
        ]
        done = 0
        for o in self.objectives:
            mine = [i for i, of in jobs if of is o]
            known = self.find(archs, o, "verify")
            missing = [i for i in mine if known[i] is None]
            groups = []
            for start in range(0, len(missing), o.oracle.together):
                some = missing[start : start + o.oracle.together]
                others = of_one_call(o, [other for other in self.objectives if all((i, other) in jobs for i in some)])
                groups.append((others, archs[some]))

            def report(count: int, name: str = o.name) -> None:
                nonlocal done
                done += count
                if progress is not None:
                    progress(done, len(jobs), name)

            self._evaluate(o, groups, report)
        rows = []
        checked = {o.name: self.find(archs, o, "verify") for o in self.objectives}
        for i, objective in jobs:
            record = checked[objective.name][i]
            assert record is not None
            if objective.name not in believed or told[objective.name][i] is not None:
                continue  # nothing was predicted of it
            mean, std = (float(v[i]) for v in (believed[objective.name].mean, believed[objective.name].std))
            rows.append(
                {
                    "arch": self.space.format(archs[i]),
                    "objective": objective.name,
                    "predicted": mean,
                    "predicted_std": std,
                    "measured": record.value,
                    "error": mean / record.value - 1.0 if record.value else float("nan"),
                }
            )
        columns = ["arch", "objective", "predicted", "predicted_std", "measured", "error"]
        self.verification = pd.DataFrame(rows, columns=columns)
        return self.verification

    def unverifiable(self, archs: Archs | None = None) -> dict[str, Archs]:
        """Architectures of the front, or of `archs`, whose value is only predicted and cannot be evaluated here, by
        objective: those of a device of which there are only the measurements of a file."""
        archs = self.front_archs if archs is None else self.space.as_archs(archs)
        found = {}
        for o in self.objectives:
            if o.oracle.closed:
                unknown = np.array([record is None for record in self.find(archs, o)], dtype=bool)
                if unknown.any():
                    found[o.name] = archs[unknown]
        return found

    def _evaluate(
        self,
        objective: Objective,
        groups: Sequence[tuple[Sequence[Objective], Archs]],
        report: Callable[[int], None],
        purpose: Purpose = "verify",
    ) -> None:
        """Evaluate groups of architectures beyond the budget, and record them, with what the same calls tell of others.

        As many at a time as there are workers, but one after another where an evaluation has something to itself.

        Args:
            groups: the others and the architectures of each.
            report: called with their number when a group is recorded.
            purpose: of the records.
        """
        workers = self.workers if self.workers is not None and self.workers.isolated else InProcess()
        workers = workers if objective.oracle.exclusive is None else workers.local()
        waiting, running = deque(groups), {}  # type: ignore[var-annotated]
        with Uninterrupted() as shield:
            try:
                while waiting or running:
                    while waiting and len(running) < workers.count:
                        others, archs = waiting.popleft()
                        if objective.oracle.kind == "measured":
                            keys = [key_of(arch, objective.name, objective.fidelity, purpose) for arch in archs]
                            self.history.begin(keys)
                        call = Call(objective, others, archs, objective.fidelity, purpose, self.retries)
                        with shield.lifted():
                            running[workers.submit(call)] = len(archs)
                    with shield.lifted():
                        over = workers.wait(running)
                    for answer in over:
                        made, count = answer.result(), running.pop(answer)
                        new = [r for mine, *also in made for r in (mine, *also) if r is mine or self._is_new(r)]
                        self.history.add(new)
                        report(count)
            except BaseException:
                self.history.abandon()
                raise

    def _is_new(self, record: Record) -> bool:
        """Whether a record that came with another one is a value, and not known yet."""
        known = self.history.find(record.arch, record.objective, record.fidelity, record.purpose)
        return record.status == "ok" and known is None

    def train_again(
        self,
        objectives: Mapping[int, Sequence[Objective]],
        progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        """Train the front again with other seeds, beyond the budget; see :attr:`retrained`.

        Trainings that an earlier run made are not repeated.

        Args:
            objectives: those that are trained, with an oracle of each seed, by the seed's number from 1.
            progress: called with (done, total, objective).
        """
        jobs = []
        for number, trained in objectives.items():
            for o in trained:
                known = self.find(self.front_archs, o, of_seed(number))
                jobs += [(number, o, self.front_archs[[i]]) for i, record in enumerate(known) if record is None]
        for done, (number, o, arch) in enumerate(jobs, 1):
            self._evaluate(o, [((), arch)], lambda count: None, of_seed(number))
            if progress is not None:
                progress(done, len(jobs), o.name)
        self.seeds = max(objectives, default=0)

    @property
    def retrained(self) -> dict[str, Retrained]:
        """What trainings of the front with other seeds say of the search's values, by objective; empty before
        :meth:`train_again`."""
        found = {}
        for o in self.objectives if self.seeds else ():
            told = self.find(self.front_archs, o)
            again = [self.find(self.front_archs, o, of_seed(number)) for number in range(1, self.seeds + 1)]
            rows = [
                (self.space.format(arch), record.value, [r.value for r in others if r is not None and r.status == "ok"])
                for arch, record, *others in zip(self.front_archs, told, *again, strict=True)
                if record is not None and record.status == "ok"
            ]
            if any(values for _, _, values in rows):
                found[o.name] = Retrained.of_rows(rows, o.sign, self.history.counts().get(o.name, 0))
        return found

    def settle(
        self,
        n: int,
        progress: Callable[[int, int, str], None] | None = None,
        again: bool = True,
        repair: bool = True,
    ) -> Archs:
        """Verify the proposed front, and leave out architectures that prove dominated or infeasible.

        Where an objective is measured and differs from time to time (`Oracle.noisy`: a latency, an energy), at most `n`
        of the front are measured again, together: those near a limit first, its ends and its knee, then evenly. A
        network keeps a limit where its true value is within it with 95 % confidence; for those that break one others
        are measured, at most `n` more, by the predictions as they look after what was measured
        (`nastk.search.delivery`). Where nothing keeps the limits, :attr:`promise` says what comes nearest.

        Args:
            n: verify at most this many of the front; without measured objectives evenly along its last objective.
            progress: called with (done, total, objective).
            again: measure again what the search has measured. Without, only predicted values are evaluated, and each
                counts as it is.
            repair: measure others for those that break a limit.

        Returns:
            The front, ``(m, d)``, now :attr:`front_archs`; never empty where the searcher proposed one, which is now
            :attr:`proposed`.
        """
        self.proposed = self._sort_by_last(self.front_archs)
        measured = [o for o in self.objectives if o.expensive and o.oracle.noisy and not o.oracle.closed]
        if again and n and measured and len(self.proposed):
            self.front_archs, self.promise = self._deliver(n, progress, repair)
            return self.front_archs
        some = self.proposed
        if len(some) > n:
            some = some[np.unique(np.linspace(0, len(some) - 1, n).round().astype(int))] if n else some[:0]
        self.verify(some, progress)
        self.front_archs = self._drop_dominated(self.proposed)
        return self.front_archs

    def _deliver(self, n: int, progress: Callable[[int, int, str], None] | None, repair: bool) -> tuple[Archs, Promise]:
        """Measure the proposed front again, repair it, and choose what is delivered."""
        assert self.proposed is not None
        delivery = Delivery(self.searcher, self.proposed, n, self._measured_again, self._measured_last(), repair)
        self.delivery = delivery
        while len(rows := delivery.next()):
            self.verify(delivery.archs[rows], progress, True, delivery.eligible[rows])
            delivery.take(rows)
        archs, promise = delivery.deliver()
        done = delivery.tried
        self.verify(delivery.archs[done], None, True, delivery.eligible[done])  # the table of all that was measured
        return self._sort_by_last(archs), promise

    def _measured_last(self) -> Archs:
        """Architectures that were measured since the search evaluated anything: by an interrupted verification."""
        ended = max((r.time for r in self.history.records("search")), default=0.0)
        since = [r for r in self.history.records("verify") if r.time >= ended]
        noisy = {o.name for o in self.objectives if o.oracle.noisy}
        return np.array(list(dict.fromkeys(r.arch for r in since if r.objective in noisy)), dtype=np.int64).reshape(
            -1, self.space.d
        )

    def _measured_again(self, archs: Archs) -> Measured:
        """What the verification measured of architectures ``(n, d)``."""
        shape = len(archs), len(self.objectives)
        value, std, tried = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(len(archs), dtype=bool)
        for j, o in enumerate(self.objectives):
            for i, record in enumerate(self.find(archs, o, "verify") if o.expensive else []):
                if record is not None:
                    value[i, j], std[i, j] = record.value, record.std
                    tried[i] |= o.oracle.noisy
        return Measured(value, std, tried)

    def _sort_by_last(self, archs: Archs) -> Archs:
        """Architectures in the order of the last objective, by known or predicted values."""
        return self.space.as_archs(list(self.describe(archs)["arch"])) if len(archs) else archs

    def _drop_dominated(self, archs: Archs) -> Archs:
        """The feasible non-dominated architectures; all of them where none is feasible."""
        if not len(archs):
            return archs
        table = self.describe(archs)
        archs = self.space.as_archs(list(table["arch"]))
        values = table[[o.name for o in self.objectives]].to_numpy(dtype=float)
        known = np.isfinite(values).all(axis=1)
        violation = np.where(known, self.searcher.violation(np.nan_to_num(values)), np.inf)
        fine = np.flatnonzero(violation <= 0)
        return archs[fine[nondominated(values[fine] * self.searcher.signs)]] if len(fine) else archs

    # ---- what choices do

    def choice_effects(
        self,
        samples: int | None = None,
        refits: int | None = None,
        seed: int = 0,
        progress: Callable[[float, float, str], None] | None = None,
    ) -> ChoiceEffects:
        """How the objectives change with each choice: main effects and the strongest interactions of pairs, as far as
        the searcher's predictors know; see :func:`nastk.search.choice_effects.choice_effects` for arguments and errors.

        Example::

            >>> effects = result.choice_effects()
            >>> effects.options[["choice", "option", "accuracy_effect", "latency_effect"]]
            >>> nastk.report.write_choices(effects, "choices.png")
        """
        from nastk.search.choice_effects import REFITS, SAMPLES, choice_effects

        return choice_effects(
            self.searcher, SAMPLES if samples is None else samples, REFITS if refits is None else refits, seed, progress
        )

    # ---- files

    def to_dict(self) -> dict[str, Any]:
        """Space, objectives, front and records, for JSON; NaN is None. `docs/result-json.md` has every field."""
        from nastk.report.front_table import front_rows

        return {
            "schema": SCHEMA,
            "search": self.description,
            "command": self.command,
            "supernet": self.supernet,
            "versions": _versions(),
            "space": self.space.name,
            "objectives": [
                {
                    "name": o.name,
                    "unit": o.unit,
                    "direction": o.direction,
                    "expensive": o.expensive,
                    "kind": o.oracle.kind,
                    "source": o.oracle.source,
                    **_kept_networks(o),
                }
                for o in self.objectives
            ],
            "constraints": [str(c) for c in self.constraints],
            "feasible": self.feasible,
            "front": front_rows(self),
            "verification": None if self.verification is None else rows_of(self.verification),
            "measurement": self.measurement,
            "retrained": {name: asdict(found) for name, found in self.retrained.items()},
            "evaluations": self.history.counts(),
            "failures": self.failures,
            "notes": self.notes,
            "history": rows_of(self.history.frame(self.space)),
        }

    @property
    def measurement(self) -> dict[str, Any] | None:
        """What the measurements at the end say beside the values, JSON-able; None where nothing was measured again.

        ``kept``, ``measured``, ``repairs``, ``broken``, ``left_out``, ``missed`` and ``moved`` as of
        `nastk.search.delivery.Promise`. ``objectives``: by name, under what the front was measured
        (`nastk.oracles._rounds.Conditions.facts`; where it took several sets of networks, the last, and ``trusted``
        only where all are). ``front``: by architecture and objective, ``value``, ``std``, ``low`` and ``high`` (95 %
        interval), ``p50``, ``p90``, ``repeats`` where they are known, ``search`` (the search's own measurement), and
        ``source``: "measured" again, from the "search", or "predicted".
        """
        if self.promise is None:
            return None
        said = asdict(self.promise)
        noisy = [o for o in self.objectives if o.expensive and o.oracle.noisy]
        archs = self._sort_by_last(self.front_archs)
        rows: list[dict[str, Any]] = [{"arch": self.space.format(arch)} for arch in archs]
        for o in noisy:
            pairs = zip(rows, self.find(archs, o, "verify"), self.find(archs, o), strict=True)
            for row, last, earlier in pairs:
                row[o.name] = _of_measurement(last, earlier)
        said["objectives"] = {o.name: conditions for o in noisy if (conditions := self._conditions(o))}
        return {**said, "front": rows}

    def _conditions(self, objective: Objective) -> dict[str, Any]:
        """Under what an objective was measured at the end; empty where its oracle does not tell."""
        records = [r for r in self.history.records("verify") if r.objective == objective.name and r.details]
        if not records:
            return {}
        facts = {k: v for k, v in records[-1].details.items() if k not in OF_ONE_NETWORK}
        return {**facts, "trusted": all(r.details.get("trusted", False) for r in records)}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_dict` and the chart, which ``nastk report`` draws again, whole or not at all."""
        from nastk.report.rows import without_nan

        content = without_nan({**self.to_dict(), "chart": self.chart().to_dict()})
        write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the front as CSV, whole or not at all: values with kind, interval and unit, and one column a choice
        (:func:`nastk.report.front_table.front_table`)."""
        from nastk.report.front_table import front_table

        write_text(path, front_table(self).to_csv(index=False))

    def chart(self, notes: Sequence[str] = ()) -> Chart:
        """The chart that pictures show: the front, other evaluated architectures, and predictions of the rest."""
        from nastk.report.front import chart_of

        return chart_of(self, notes=notes)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write an interactive HTML page of the front that opens offline."""
        from nastk.report.html import write_html

        write_html(self.chart(), path)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the front as PNG."""
        from nastk.report.plots import write_png

        write_png(self.chart(), path)

    def __repr__(self) -> str:
        goals = ", ".join(o.name for o in self.objectives)
        return f"<result: {len(self.front_archs)} architectures of {self.space.name} for {goals}>"


def _of_measurement(last: Record | None, earlier: Record | None) -> dict[str, Any]:
    """One network's measurement at the end, or where there is none that of the search, as of
    :attr:`Result.measurement`."""
    record, source = (last, "measured") if last is not None and last.status == "ok" else (earlier, "search")
    if record is None or record.status != "ok":
        return {"source": "predicted"}
    found: dict[str, Any] = {"value": record.value, "source": source}
    if record.std > 0:
        half = Z95 * record.std
        found |= {"std": record.std, "low": record.value - half, "high": record.value + half}
    found |= {name: record.details[name] for name in OF_ONE_NETWORK if name in record.details}
    if source == "measured" and earlier is not None and earlier.status == "ok":
        found["search"] = earlier.value
    return found


def _versions() -> dict[str, str]:
    """Versions of what computes the values."""
    from importlib.metadata import version

    from nastk import __version__

    return {"nastk": __version__, "torch": version("torch").partition("+")[0], "python": platform.python_version()}


def _kept_networks(objective: Objective) -> dict[str, str]:
    """The folder in which the trainings of an objective kept files of their networks, where they did."""
    oracle = objective.oracle
    folder = oracle.folder or oracle.study_folder
    return {"networks": os.path.abspath(folder)} if oracle.needs_folder and os.path.isdir(folder) else {}


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table for JSON; NaN is None."""
    clean = table.astype(object).where(table.notna(), None)
    return [
        {str(k): v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
        for row in clean.to_dict("records")
    ]

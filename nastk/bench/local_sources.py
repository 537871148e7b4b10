"""What networks measured here are worth as source devices: each setting of this machine in turn as the remote device.

Test networks are measured in all settings, with as much care as a search measures; other networks as
`nastk.local_sources` does. For each setting as the remote device, the source settings but itself are learned, ten or so
of the test networks are chosen and adapted to, and predictions are compared on the test networks that no method
adapted to. No network that sources were measured on is tested.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nastk.encodings.base import Context
from nastk.errors import DataError, InvalidValue
from nastk.files import write_text
from nastk.metrics import mean_ci, paired, spearman
from nastk.oracles._settings import InSettings, Setting, available
from nastk.parallel import one_thread
from nastk.predictors._local_sources import PREFIX, SETTINGS, LocalSources
from nastk.predictors.base import Predictor, Task
from nastk.predictors.factory import predictor
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.factory import space as named

Array = NDArray[np.float64]
Rows = list[dict[str, Any]]

REMOTES = (*SETTINGS, "openvino", "openvino int8")
"""Settings that are the remote device in turn, as far as this machine has them."""

TOGETHER = 20
"""Test networks that are measured together; an interruption loses them."""

LEAST_TESTED = 5
"""Networks that must be left to test on."""

WITH, WITHOUT, LOOKUP = "few-shot-gp", "from-scratch", "lookup-table"
"""Methods: with sources, the same without, and one weight an option."""

OF_CANDIDATES = 2 / 3
"""Share of the test networks that each draw chooses among, so that draws differ."""


@dataclass
class Latencies:
    """What was measured; a file of it is evaluated again without a measurement.

    Args:
        space: its name, or ``file.py:Class``.
        build: options of `SearchSpace.build`.
        test: rows of the test networks.
        remotes: ms of the test networks by setting, None where one failed.
        sources: by setting, the rows of other networks and their ms.
        left_out: why settings are none, by setting.
    """

    space: str
    build: dict[str, Any] = field(default_factory=dict)
    test: list[list[int]] = field(default_factory=list)
    remotes: dict[str, list[float | None]] = field(default_factory=dict)
    sources: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write all of it as JSON."""
        write_text(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Latencies:
        """The inverse of :meth:`write`.

        Raises:
            DataError: it cannot be read, or is none.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            found = cls(**content)
            if not found.test or not found.remotes or not isinstance(found.space, str):
                raise ValueError("no measurements")
            return found
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{path} holds no latencies of nastk bench local-sources: {error}") from error


def measure(
    space_name: str,
    networks: int,
    sources: int,
    sources_time: float,
    settings: Sequence[str] | None = None,
    keep: Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
    **build_options: Any,
) -> Latencies:
    """Measure the test networks in all settings, and others as sources.

    Args:
        space_name: a space, or ``file.py:Class``.
        networks: to test and adapt to.
        sources, sources_time: networks and time limit as of `nastk.local_sources`.
        settings: remote devices; by default :data:`REMOTES`, as far as this machine has them.
        keep: file to write to after each set.
        seed: of the test networks.
        progress: called with (done, total, setting).
        build_options: of `SearchSpace.build`.

    Raises:
        NastkError: too few settings or networks could be measured.
    """
    space = named(space_name)
    found = Latencies(space_name, build_options)
    named_settings = [Setting.parse(text) for text in (REMOTES if settings is None else settings)]
    remotes, lacking = available(named_settings, required=settings is not None)
    local = LocalSources(space, sources, sources_time, **build_options)
    found.left_out = {str(setting): reason for setting, reason in (lacking | local.left_out).items()}
    archs = space.sample_networks(networks, seed + 1)
    for task in local.tasks(progress):
        name = str(task.device).removeprefix(PREFIX)
        found.sources[name] = {"archs": task.archs.tolist(), "ms": task.values.tolist()}
    exporting = [one for one in remotes if one.prepares]
    rest = [one for one in remotes if not one.prepares]
    found.test = archs.tolist()
    found.remotes = {str(setting): [] for setting in remotes}
    done, total = 0, len(archs) * len(remotes)
    for group in [group for group in (rest, exporting) if group]:
        for start in range(0, len(archs), TOGETHER):
            part = archs[start : start + TOGETHER]
            measuring = InSettings(space, group, **build_options)
            for setting, values in measuring.measure(part).items():
                found.remotes[str(setting)] += [float(v) if np.isfinite(v) else None for v in values]
            done += len(part) * len(group)
            progress(done, total, ", ".join(map(str, group)))
            if keep is not None:
                found.write(keep)
    return found


# ---- from latencies to figures


def evaluate(latencies: Latencies, adapt: int = 10, draws: int = 10) -> Rows:
    """Adapt with sources, without, and with the lookup table, for each setting as the remote device.

    Args:
        latencies: that were measured.
        adapt: measurements of the remote device.
        draws: how often, each among other two thirds of the test networks.

    Returns:
        Tidy rows: Spearman correlation and median relative error (%) by device and method, device "*" the mean over
        all; and the differences of :data:`WITH` to :data:`WITHOUT`, paired by device and draw, the interval by the t
        distribution and ``p`` by Wilcoxon's signed-rank test.

    Raises:
        InvalidValue: too few networks.
        DataError: networks that are none of the space's.
    """
    space = named(latencies.space)
    try:
        test = space.as_networks(space.as_archs(np.array(latencies.test)))
        tasks = {name: _source(space, latencies, name, test) for name in latencies.sources}
    except InvalidValue as error:
        raise DataError(f"the latencies are of another space than {latencies.space}: {error}") from error
    scores: dict[str, dict[str, Array]] = {}
    with one_thread():
        for name, values in latencies.remotes.items():
            ms = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
            known = np.isfinite(ms)
            sources = [task for source, task in tasks.items() if source != name]
            if not sources:
                raise InvalidValue(f"no setting but {name} itself was measured as a source")
            remote = _task(space, latencies, test[: len(ms)][known], ms[known], "remote")
            scores[name] = _scores(remote, sources, adapt, draws, name)
    return [*_rows(latencies, scores, adapt, draws), *_differences(latencies, scores, adapt, draws)]


def _task(space: SearchSpace, latencies: Latencies, archs: Archs, ms: Array, device: str) -> Task:
    context = Context(build_options=latencies.build)
    return Task(space, archs, ms, "latency", "ms", "min", device=device, context=context)


def _source(space: SearchSpace, latencies: Latencies, name: str, test: Archs) -> Task:
    """The measurements of a source, but those of test networks."""
    measured = latencies.sources[name]
    task = _task(space, latencies, np.array(measured["archs"]), np.array(measured["ms"]), f"{PREFIX}{name}")
    tested = {row.tobytes() for row in test}
    return task.subset(np.array([row.tobytes() not in tested for row in task.archs]))


def _scores(remote: Task, sources: list[Task], adapt: int, draws: int, name: str) -> dict[str, Array]:
    """Spearman correlation and median error (%) of each method, ``(draws, 2)``."""
    few = predictor("few-shot-gp").pretrain(sources)
    methods: dict[str, Predictor] = {WITH: few, WITHOUT: predictor("few-shot-gp"), LOOKUP: predictor("lookup-table")}
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
    count = round(OF_CANDIDATES * len(remote))
    if count < adapt or len(remote) < 2 * adapt + LEAST_TESTED:
        raise InvalidValue(
            f"{name}: {len(remote)} networks are too few to adapt to {adapt} and test on others; measure at least "
            f"{2 * adapt + LEAST_TESTED}"
        )
    for draw in range(draws):
        candidates = np.random.default_rng([draw, zlib.crc32(name.encode())]).permutation(len(remote))[:count]
        chosen = {
            method: _chosen(methods[WITH if method == WITH else WITHOUT], remote, candidates, adapt, draw)
            for method in methods
        }
        tested = ~np.logical_or.reduce(list(chosen.values()))
        truth = remote.values[tested]
        for method, model in methods.items():
            mean = model.adapt(remote.subset(chosen[method])).predict(remote.archs[tested]).mean
            found[method].append((spearman(mean, truth), 100.0 * float(np.median(np.abs(mean / truth - 1.0)))))
    return {method: np.array(scores) for method, scores in found.items()}


def _chosen(few: Predictor, remote: Task, candidates: Any, adapt: int, draw: int) -> NDArray[np.bool_]:
    """Mask of the networks that a predictor asks for among the candidates."""
    rows = few.choose(adapt, remote.space, candidates=remote.archs[candidates], seed=draw, context=remote.context)
    keys = {row.tobytes() for row in rows}
    return np.array([row.tobytes() in keys for row in remote.archs])


METRICS = ("spearman", "median_error")


def _rows(latencies: Latencies, scores: dict[str, dict[str, Array]], adapt: int, draws: int) -> Rows:
    found = []
    for device in (*scores, "*"):
        for method in (WITH, WITHOUT, LOOKUP):
            values = [scores[name][method] for name in scores if device in ("*", name)]
            for j, metric in enumerate(METRICS):
                each = np.mean(values, axis=0)[:, j]  # of a draw, over devices
                mean, half = mean_ci(each)
                sources = [s for s in latencies.sources if s != device] if method == WITH else []
                found.append(_row(latencies, device, method, adapt, draws, metric, mean, half, sources))
    return found


def _differences(latencies: Latencies, scores: dict[str, dict[str, Array]], adapt: int, draws: int) -> Rows:
    found = []
    for device in (*scores, "*"):
        mine = [scores[name] for name in scores if device in ("*", name)]
        for j, metric in enumerate(METRICS):
            apart = np.concatenate([one[WITH][:, j] - one[WITHOUT][:, j] for one in mine])
            mean, half, p = paired(apart)
            row = _row(latencies, device, WITH, adapt, draws, f"{metric}_difference", mean, half, [])
            found.append({**row, "p": p, "pairs": len(apart)})
    return found


def _row(
    latencies: Latencies,
    device: str,
    method: str,
    adapt: int,
    draws: int,
    metric: str,
    mean: float,
    half: float,
    sources: list[str],
) -> dict[str, Any]:
    return {
        "experiment": "local-sources",
        "space": latencies.space,
        "device": device,
        "method": method,
        "samples": adapt,
        "sources": ", ".join(sources),
        "metric": metric,
        "mean": mean,
        "ci95": half,
        "seeds": draws,
    }


def table(rows: Rows) -> Rows:
    """Rows of :func:`evaluate` for people, one a device: Spearman / median error (%) of each method, differences."""
    found = []
    for device in dict.fromkeys(row["device"] for row in rows):
        of = {(row["method"], row["metric"]): row for row in rows if row["device"] == device}
        line: dict[str, Any] = {"remote": device}
        for method in (WITH, WITHOUT, LOOKUP):
            line[method] = f"{of[method, METRICS[0]]['mean']:.3f} / {of[method, METRICS[1]]['mean']:.1f}"
        for metric, short in zip(METRICS, ("Spearman", "error"), strict=True):
            apart = of[WITH, f"{metric}_difference"]
            line[f"{short} +-"] = f"{apart['mean']:+.3f} ± {apart['ci95']:.3f}"
            line[f"p {short}"] = apart["p"]
        found.append(line)
    return found

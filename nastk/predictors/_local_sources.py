"""Source devices made here: networks measured on this machine in several settings, for the few measurements elsewhere.

A space for which no latency weights ship, such as a user's own network, has no source devices. Its networks cost
milliseconds on the machine at hand, though, and runtimes, precisions, threads and batches weigh operations differently,
as devices do. Multi-Predict (Akhauri & Abdelfattah 2023, Section 4) describes a device by latencies on others; here the
user's own machine is the others.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.code import code_of
from nastk.data.fetch import default_home
from nastk.devices import describe_device
from nastk.encodings.base import Context
from nastk.errors import DataWarning, InvalidValue, NastkError
from nastk.files import write_text
from nastk.oracles._settings import SHORT, InSettings, Setting, available
from nastk.predictors._source_models import SourceModels
from nastk.predictors.base import Task
from nastk.runtimes.base import make_runtime, runtime_class
from nastk.spaces.base import ENUMERABLE, Archs, SearchSpace

if TYPE_CHECKING:
    from nastk.predictors.few_shot_gp import FewShotGP

NETWORKS = 200
"""Networks that are measured in each setting where nothing else is asked for."""

SECONDS = 300.0
"""Time limit of all settings together where nothing else is asked for."""

SETTINGS = ("torch", "torch batch 8", "torch 2 threads", "onnx", "onnx int8")
"""Settings where none are named, as far as this machine has them: those that need no preparation first. Of the runtimes
that export networks ONNX Runtime's files are the cheapest, and int8 is what ranks networks otherwise."""

LEAST = 30
"""Networks that a setting must have run to be a source: what is learned from fewer tells less of other devices than
option counts do."""

LEAST_QUALITY = 0.5
"""Rank correlation of a setting's latencies with their leave-one-out predictions below which it is no source: they are
mostly noise then, such as that of two threads on a machine whose processors others use."""

FIRST = 3
"""Networks of the first set in a setting, by which the time of the others is judged: what one costs is not known
before, and on a busy machine two threads may wait for each other for seconds."""

TOGETHER = 50
"""Most networks that are measured together: a longer set tells the machine's speed better, and an interruption loses
it."""

FEWEST = 5
"""Fewest networks of a set: with fewer the machine's speed cannot be told from theirs."""

LAYOUT = 1
"""Version of the files that keep measurements."""

PREFIX = "here: "
"""Before the setting in the name of a source."""

Progress = Callable[[int, int, str], None]


@dataclass
class _Kept:
    """Measurements of one setting, as its file has them.

    Args:
        ms: latency by the text of the row (``0,2,1``).
        failed: reason by the same.
        networks, seconds: up to how many networks, and how long, were asked for when it was complete; 0 before.
    """

    ms: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    networks: int = 0
    seconds: float = 0.0

    def knows(self, row: str) -> bool:
        return row in self.ms or row in self.failed


class LocalSources:
    """The networks of a space on this machine, as source tasks; see :func:`local_sources`.

    Args:
        space, networks, seconds, settings, seed, folder, build_options: as of :func:`local_sources`.
        but: settings that are none of the default ones: the target's own.

    Attributes:
        settings: of this machine, in the order in which they are measured.
        left_out: why settings are no sources, by setting.
        measured: networks, one in one setting each, that :meth:`tasks` measured; the others were kept from before.
        reasons: why networks failed, by setting and text.
    """

    def __init__(
        self,
        space: SearchSpace,
        networks: int = NETWORKS,
        seconds: float = SECONDS,
        settings: Sequence[str | Setting] | None = None,
        seed: int = 0,
        folder: str | os.PathLike[str] | None = None,
        but: Sequence[Setting] = (),
        **build_options: Any,
    ):
        space.need_networks("measuring networks here as sources")
        if isinstance(networks, bool) or not isinstance(networks, int) or networks < LEAST:
            raise InvalidValue(f"sources need at least {LEAST} networks; got {networks!r}")
        if not (isinstance(seconds, (int, float)) and 0 < seconds < math.inf):
            raise InvalidValue(f"the time limit of sources is a number of seconds above 0; got {seconds!r}")
        self.space, self.seconds, self.seed, self.build_options = space.whole, float(seconds), seed, build_options
        self.networks = min(networks, count_networks(self.space, networks))
        self.folder = default_home() / "sources" if folder is None else Path(folder)
        found, self.left_out = available(self._asked(settings, but), required=settings is not None)
        if not found:
            raise InvalidValue("sources need at least one setting, such as torch")
        self.settings = sorted(found, key=lambda setting: setting.prepares)  # those that need no preparation first
        self._facts = {setting: self._facts_of(setting) for setting in self.settings}
        self.measured = 0
        self.reasons: dict[Setting, dict[str, str]] = {}
        self._kept = {setting: self._read(setting) for setting in self.settings}

    @staticmethod
    def _asked(asked: Sequence[str | Setting] | None, but: Sequence[Setting]) -> list[Setting]:
        """The settings that were named, else the default ones that this machine has threads for."""
        if isinstance(asked, str):
            asked = [asked]
        found = [Setting.parse(one) if isinstance(one, str) else one for one in (SETTINGS if asked is None else asked)]
        if asked is not None:
            return found
        return [setting for setting in found if setting not in but and setting.threads <= (os.cpu_count() or 1)]

    @property
    def complete(self) -> bool:
        """Whether all is kept that these arguments ask for: :meth:`tasks` then measures nothing."""
        return all(self._is_complete(setting) for setting in self.settings)

    def _is_complete(self, setting: Setting) -> bool:
        kept = self._kept[setting]
        return kept.networks >= self.networks and (kept.seconds >= self.seconds or len(kept.ms) >= self.networks)

    def plan(self) -> str:
        """What :meth:`tasks` will do, in one line."""
        named = ", ".join(map(str, self.settings))
        if self.complete:
            return f"source devices: networks measured here before, in {named} ({self.folder})"
        limit = f"{self.seconds / 60:.3g} min" if self.seconds >= 60 else f"{self.seconds:.3g} s"
        return f"measuring {self.networks} networks here in {named}, as source devices: at most about {limit}"

    def summary(self, tasks: Sequence[Task]) -> str:
        """What the sources are, in one line."""
        if not tasks:
            return "no networks could be measured here as sources"
        counts = [len(task) for task in tasks]
        many = str(max(counts, default=0)) if len(set(counts)) < 2 else f"{min(counts)} to {max(counts)}"
        where = "" if self.measured else ", kept from before"
        return f"{many} networks measured here in {len(tasks)} setting{'s' * (len(tasks) != 1)} as sources{where}"

    def tasks(self, progress: Progress | None = None) -> list[Task]:
        """Measure what is not kept, within the time limit; one task a setting that ran at least :data:`LEAST`.

        Args:
            progress: called with (done, total, setting) after each set of networks.
        """
        archs = self.space.sample_networks(self.networks, self.seed)
        begun, left = time.monotonic(), [s for s in self.settings if not self._is_complete(s)]
        families: dict[tuple[str, int], list[Setting]] = {}
        for setting in left:
            families.setdefault(setting.family, []).append(setting)
        waiting = len(left)
        for family in families.values():
            # what one setting does not need of its share is the next ones'; those that cost most come last
            share = (self.seconds - (time.monotonic() - begun)) * len(family) / waiting
            waiting -= len(family)
            self._measure(family, archs, time.monotonic() + share, progress)
            for setting in family:
                self._kept[setting].networks, self._kept[setting].seconds = self.networks, self.seconds
                self._write(setting)
        return [task for setting in self.settings if (task := self._task(setting, archs)) is not None]

    def _measure(self, family: list[Setting], archs: Archs, deadline: float, progress: Progress | None) -> None:
        """Measure a family's networks, set by set, until the deadline; each set is kept at once."""
        rows = [i for i, arch in enumerate(archs) if not all(self._kept[s].knows(_text(arch)) for s in family)]
        alive, size = list(family), FIRST
        measuring = InSettings(self.space, alive, quick=True, **SHORT, **self.build_options)
        while rows and alive:
            part, rows = archs[rows[:size]], rows[size:]
            started = time.monotonic()
            self._take(measuring, measuring.measure(part), part)
            self.measured += len(part) * len(alive)
            if progress is not None:
                progress(self._done(archs), len(archs) * len(self.settings), ", ".join(map(str, alive)))
            broken = [s for s in alive if not self._kept[s].ms]
            if broken:  # what runs none of the first networks is not asked for the others
                alive = [s for s in alive if s not in broken]
                measuring = InSettings(self.space, alive, quick=True, **SHORT, **self.build_options)
            size = self._fits(len(rows), alive, (time.monotonic() - started) / len(part), deadline)
            if not size:
                break

    def _fits(self, waiting: int, alive: list[Setting], cost: float, deadline: float) -> int:
        """Networks of the next set, by the seconds that one takes; none where the time is over, or would be before
        there are enough for a source."""
        left = int(max(deadline - time.monotonic(), 0.0) / max(cost, 1e-9))
        lacking = min(LEAST, self.networks) - max((len(self._kept[s].ms) for s in alive), default=0)
        if left < min(max(FEWEST, lacking), waiting):
            return 0
        # a remainder that is too small for a set of its own goes with the last
        return waiting if waiting < TOGETHER + FEWEST and waiting <= left else min(TOGETHER, left)

    def _done(self, archs: Archs) -> int:
        return sum(kept.knows(_text(arch)) for kept in self._kept.values() for arch in archs)

    def _take(self, measuring: InSettings, found: dict[Setting, Any], archs: Archs) -> None:
        for setting, values in found.items():
            kept, reasons = self._kept[setting], measuring.oracles[setting].reasons
            for arch, value in zip(archs, values, strict=True):
                if np.isfinite(value) and value > 0:
                    kept.ms[_text(arch)] = float(value)
                else:
                    kept.failed[_text(arch)] = reasons.get(self.space.format(arch), "no value")
            self._write(setting)

    def _task(self, setting: Setting, archs: Archs) -> Task | None:
        kept = self._kept[setting]
        texts = [_text(arch) for arch in archs]
        known = [i for i, text in enumerate(texts) if text in kept.ms]
        self.reasons[setting] = {
            self.space.format(arch): kept.failed[text] for arch, text in zip(archs, texts, strict=True)
            if text in kept.failed
        }  # fmt: skip
        if len(known) < min(LEAST, self.networks):
            ran = f"{len(known)} of {len(archs)} networks were measured"
            first = next(iter(self.reasons[setting].values()), "the time was over")
            self.left_out[setting] = f"{ran}, at least {LEAST} are needed: {first}"
            return None
        task = Task(
            self.space, archs[known], np.array([kept.ms[texts[i]] for i in known]), "latency", "ms", "min",
            device=f"{PREFIX}{setting}", context=Context(build_options=self.build_options),
        )  # fmt: skip
        quality = float(SourceModels.fit([task]).quality[0])
        if not quality >= LEAST_QUALITY:
            self.left_out[setting] = (
                f"its latencies are mostly noise (rank correlation with leave-one-out predictions {quality:.2f}); "
                "other programs may use this machine"
            )
            return None
        return task

    # ---- what is kept on disk

    def _facts_of(self, setting: Setting) -> dict[str, Any]:
        """All that a measurement depends on: the networks and their source, the setting, the runtime, this machine."""
        code = code_of(self.space.source_code())
        runtime = make_runtime(runtime_class(setting.runtime), "this", setting.threads, setting.precision)
        return {
            "space": self.space.identity(),
            "code": None if code is None else code.digest,
            "build": repr(sorted(self.build_options.items())),
            "setting": asdict(setting),
            "runtime": runtime.describe(),
            "machine": f"{describe_device()}, {os.cpu_count()} processors",
        }

    def _file(self, setting: Setting) -> Path:
        text = json.dumps(self._facts[setting], sort_keys=True, default=repr)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"

    def _read(self, setting: Setting) -> _Kept:
        file = self._file(setting)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["layout"] != LAYOUT:
                return _Kept()
            ms = {str(row): float(value) for row, value in content["ms"].items()}
            if not all(math.isfinite(value) and value > 0 for value in ms.values()):
                raise ValueError("a latency that is not above 0")
            failed = {str(row): str(reason) for row, reason in content["failed"].items()}
            return _Kept(ms, failed, int(content["networks"]), float(content["seconds"]))
        except FileNotFoundError:
            return _Kept()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            warnings.warn(
                f"{file}: measurements kept before cannot be read ({error}); measuring again", DataWarning, stacklevel=2
            )
            return _Kept()

    def _write(self, setting: Setting) -> None:
        content = {"layout": LAYOUT, **self._facts[setting], **asdict(self._kept[setting])}
        write_text(self._file(setting), json.dumps(content, default=repr) + "\n")


def local_sources(
    space: SearchSpace | str,
    networks: int = NETWORKS,
    seconds: float = SECONDS,
    settings: Sequence[str] | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **build_options: Any,
) -> list[Task]:
    """Random networks of a space, measured on this machine in several settings, each setting a source device.

    For spaces without shipped latency weights: ``few.pretrain(nastk.local_sources(space))``, then `adapt` to the few
    measurements of a device that is expensive to measure. Each network is measured for about .05 s in a setting, and
    each setting takes at most its part of the time limit. What was measured is kept in `folder`, also after Ctrl-C, and
    not measured again while the network's file, the runtime's version and this machine are the same.

    Args:
        space: a space or its name, whose networks can be built.
        networks: how many, at least :data:`LEAST`; all where the space has fewer.
        seconds: time limit of all settings together; the first few networks in each are measured in any case.
        settings: such as "torch", "onnx int8", "torch 2 threads", "torch batch 8"; by default :data:`SETTINGS`, as far
            as this machine has them.
        seed: random seed of the networks.
        folder: where measurements are kept; by default ``sources`` in the cache folder (``NASTK_HOME``).
        progress: called with (done, total, setting).
        build_options: of `SearchSpace.build` (classes, input size).

    Returns:
        One task a setting, its device called "here: onnx int8" and the like, latencies in ms. A setting that ran fewer
        than :data:`LEAST` networks is left out, with a warning that says why.

    Raises:
        InvalidValue: fewer networks than :data:`LEAST`, or a setting that does not exist.
        MissingExtra: of a setting that was named.
        Unsupported: the space builds no networks.
        NastkError: no setting ran enough networks; the message has the first reason.
    """
    from nastk.spaces.factory import space as named

    sources = LocalSources(named(space), networks, seconds, settings, seed, folder, **build_options)
    tasks = sources.tasks(progress)
    if not tasks:
        lacking = "; ".join(f"{setting}: {reason}" for setting, reason in sources.left_out.items())
        raise NastkError(f"no networks could be measured here as sources; {lacking}")
    _warn_of(sources, stacklevel=3)
    return tasks


def pretrain(models: Iterable[FewShotGP], sources: LocalSources, progress: Progress | None = None) -> str:
    """Measure what is not kept, and let the predictors learn it in place; they stay as they are where nothing could be
    measured. Returns what was learned, in one line; settings that are no sources are named in warnings."""
    tasks = sources.tasks(progress)
    _warn_of(sources, stacklevel=4)
    if tasks:
        for model in models:
            model.learn_more(tasks)
    return sources.summary(tasks)


def _warn_of(sources: LocalSources, stacklevel: int) -> None:
    for setting in sources.settings:
        if setting in sources.left_out:
            warnings.warn(f"no source device is {setting}: {sources.left_out[setting]}", DataWarning, stacklevel)


def _text(arch: Archs) -> str:
    return ",".join(str(int(v)) for v in arch)


def count_networks(space: SearchSpace, enough: int) -> int:
    """Different networks of a space, or `enough` where it surely has as many."""
    if space.size > min(ENUMERABLE, 100 * enough) or not space.enumerable:
        return enough
    return len(space.distinct(space.enumerate()))

"""Accuracy, and other metrics, of networks that the user's own command trains."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nastk.data.command_line import NETWORK_FILES, CommandLine
from nastk.errors import InvalidValue, NastkError
from nastk.evaluation import is_transient, reason_of
from nastk.oracles._answers import call, last_line, last_number, last_object, reason, to_float, write_arch_json
from nastk.oracles._intermediate import Curve, number
from nastk.oracles._network_files import NetworkFiles
from nastk.oracles.base import Direction, Evaluation, Oracle, check_ascending, chosen_fidelity
from nastk.spaces.base import Archs, SearchSpace

PLACEHOLDERS = (*NETWORK_FILES, "arch", "arch_json", "epochs", "seed", "folder", "out")
"""Everything that may stand in braces."""

OF = "--train"
"""Whose command it is, in messages."""

LONGEST_LINE = 1 << 16
"""Characters of a printed line beyond which it is no intermediate value."""

UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
"""A Python program keeps what it prints to a pipe for itself, until that is some kilobytes."""

Values = Mapping[str, float]


@dataclass(frozen=True)
class _Trained:
    """What one training told.

    Args:
        values: by metric; empty where it failed.
        lower: values by epoch, before the one that was asked for.
        reason: why it failed.
        transient: whether it may succeed at the next try.
    """

    values: Values = field(default_factory=dict)
    lower: Mapping[float, Values] = field(default_factory=dict)
    reason: str = ""
    transient: bool = False


class TrainingCommand(Oracle):
    """One metric of networks that a command trains, an expensive oracle: ``python train.py --arch {arch} --out {out}``.

    The command is started directly, never by a shell. Its answer is the last number that it prints, or a JSON object in
    the last lines, or what it writes to ``{out}``. An object may tell several metrics, such as
    ``{"accuracy": 93.1, "f1": .9}``: oracles of one command are then evaluated together (see :attr:`Oracle.call`).

    Where there are fidelities, the command gets one of them as ``{epochs}``. It may print values on its way, each a
    JSON object on a line of its own, ``{"epoch": 5, "accuracy": 71.2}``: those at lower fidelities are kept
    (:attr:`Evaluation.lower`), that at the fidelity is the value. A command without ``{epochs}`` has to, and is ended
    with all its processes once it has printed that.

    A command fails by an exit status other than 0, no number or no finite one, an epoch that is never reached, or the
    end of its time; :attr:`reasons` says why, with the last line that it printed. It is started again, up to `retries`
    times, unless it would do the same again: a Python program that ends by a ValueError, an answer that is no number.

    Args:
        space: whose networks to train.
        command: a program and its arguments, with placeholders in braces (:data:`PLACEHOLDERS`); as one text it is
            split into words as a shell would.
        metric: that it tells; its oracle's name.
        metrics: all that it tells, in a JSON object.
        unit: of the metric; by default "%" of accuracies.
        direction: "max" by default of accuracies.
        fidelities: ascending training epochs; the last is the objective.
        seed: what the command is given as ``{seed}``.
        timeout: seconds that a training may take; by default any.
        retries: how often a training that failed is started again.
        folder: see :class:`Oracle`; for evaluations outside of a search.
        working_folder: where the command runs, and what relative paths in it begin at; by default the current folder.
        build_options: of `SearchSpace.build`, for files of the network.

    Attributes:
        reasons: for architectures (as text) that failed, why.

    Raises:
        InvalidValue: a command that cannot be used, there is no such program, or its placeholders do not fit
            `fidelities`.
        MissingExtra: what a file of the network needs is not installed.
        Unsupported: the command needs a network, and the space builds none.
    """

    handles_retries = True
    per_network = True

    def __init__(
        self,
        space: SearchSpace,
        command: str | Sequence[str],
        metric: str = "accuracy",
        metrics: Sequence[str] = (),
        unit: str | None = None,
        direction: Direction | None = None,
        fidelities: Sequence[float] = (),
        seed: int = 0,
        timeout: float = math.inf,
        retries: int = 1,
        folder: str | os.PathLike[str] = "",
        working_folder: str | os.PathLike[str] = "",
        **build_options: Any,
    ):
        words = command_words(command)
        check_limits(timeout, retries)
        check_ascending(fidelities)
        self.line = CommandLine(words, os.path.abspath(working_folder), OF, "trains", PLACEHOLDERS)
        if "epochs" in self.line.uses and not fidelities:
            raise InvalidValue(f"{OF}: the command uses {{epochs}}: say how many, such as --epochs 5,50")
        is_accuracy = "accuracy" in metric
        if direction is None and not is_accuracy:
            raise InvalidValue(f"{OF}: is {metric} to be maximised or minimised? write max:{metric} or min:{metric}")
        self.space, self.name, self.metric = space, metric, metric
        self.metrics = tuple(dict.fromkeys([metric, *metrics]))
        self.unit = ("%" if is_accuracy else "") if unit is None else unit
        self.direction = direction or "max"
        self.fidelities, self.seed, self.timeout, self.retries = tuple(fidelities), seed, timeout, retries
        self.folder = os.path.abspath(folder) if folder else ""
        self.build_options = build_options
        self.needs_folder = "folder" in self.line.uses
        self._program, self._script = self.line.program(), self.line.script
        self._of_command = self.line.identity()  # now: files may come and go while it runs
        self._files = NetworkFiles(space, [f for f in NETWORK_FILES if f in self.line.uses], **build_options)
        self.reasons: dict[str, str] = {}
        at = f", at {', '.join(f'{f:g}' for f in fidelities)}" if fidelities else ""
        self.source = f"trained by {_shown(words)}{at}"

    @property
    def seeded(self) -> bool:
        return "seed" in self.line.uses

    def describe(self) -> dict[str, Any]:
        limit = {} if math.isinf(self.timeout) else {"timeout": self.timeout}
        return {
            "oracle": "train", "metric": self.metric, "metrics": list(self.metrics), "direction": self.direction,
            "unit": self.unit, "command": list(self.line.words), "working_folder": self.line.folder,
            "fidelities": list(self.fidelities), "retries": self.retries, **limit, **self.build_options,
        }  # fmt: skip

    def identity(self) -> dict[str, Any]:
        return {**self.files_identity(), "metric": self.metric}

    def files_identity(self) -> dict[str, Any]:
        seed = {"seed": self.seed} if "seed" in self.line.uses else {}
        return {"oracle": "train", **self._of_command, **seed, "build": repr(self.build_options)}

    @property
    def call(self) -> dict[str, Any]:
        """All that a training depends on: oracles of which it is equal get their values from the same trainings."""
        return {**self.files_identity(), "fidelities": list(self.fidelities)}

    def source_code(self) -> Any:
        return self._script

    def _evaluate(self, archs: Archs, fidelity: float | None) -> Evaluation:
        at = next(iter(chosen_fidelity(self, fidelity)), None)
        folders = [self.network_folder(arch) if self.needs_folder else "" for arch in archs]
        found, attempts, seconds = [], [], []
        for arch, folder in zip(archs, folders, strict=True):
            started = time.perf_counter()
            trained, tries = self._train(arch, folder, at)
            seconds.append(time.perf_counter() - started)
            attempts.append(tries)
            found.append(trained)
            text = self.space.format(arch)
            self.reasons.pop(text, None)
            if self.metric not in trained.values:
                self.reasons[text] = trained.reason
        tried = np.array(attempts, dtype=np.int64)
        lower = [f for f in self.fidelities if at is not None and f < at and any(f in t.lower for t in found)]
        passed = {f: self._evaluation([t.lower.get(f, {}) for t in found]) for f in lower}
        return self._evaluation([t.values for t in found], np.array(seconds, dtype=np.float64), tried, passed)

    def _evaluation(
        self,
        told: Sequence[Values],
        cost: Any = None,
        attempts: Any = None,
        lower: Mapping[float, Evaluation] | None = None,
    ) -> Evaluation:
        """Values of all metrics, by what trainings told; the cost is that of the metric that was asked for."""
        unknown, free = np.full(len(told), np.nan), np.zeros(len(told))

        def of(metric: str) -> Any:
            return np.array([values.get(metric, np.nan) for values in told], dtype=np.float64)

        others = {m: Evaluation(of(m), unknown, free, attempts) for m in self.metrics if m != self.metric}
        return Evaluation(of(self.metric), unknown, free if cost is None else cost, attempts, others, lower or {})

    # ---- one training

    def _train(self, arch: Archs, folder: str, at: float | None) -> tuple[_Trained, int]:
        """What the command told of one architecture ``(d,)``, and how often it was started."""
        try:
            with tempfile.TemporaryDirectory(prefix="nastk-", ignore_cleanup_errors=True) as temporary:
                out = Path(temporary, "out")
                arguments = [self._program, *self.line.arguments(self._values(arch, folder, Path(temporary), at, out))]
                tries = 1
                trained = self._call(arguments, out, at)
                while trained.transient and tries <= self.retries:
                    tries += 1
                    trained = self._call(arguments, out, at)
                return trained, tries
        except NastkError:
            raise
        except (Exception, SystemExit) as error:  # the network's, or an operator that its format lacks
            return _Trained(reason=reason_of(error)), 1

    def _values(self, arch: Archs, folder: str, temporary: Path, at: float | None, out: Path) -> dict[str, str]:
        """What the placeholders stand for."""
        files = {name: str(file) for name, file in self._files.write(arch, temporary, "network").items()}
        values = {"arch": self.space.format(arch), "seed": str(self.seed), "folder": folder, "out": str(out), **files}
        if at is not None:
            values["epochs"] = str(int(at)) if float(at).is_integer() else repr(float(at))
        if "arch_json" in self.line.uses:
            values["arch_json"] = write_arch_json(self.space, arch, temporary)
        return values

    def _call(self, arguments: list[str], out: Path, at: float | None) -> _Trained:
        """Start the command once."""
        ends_it = at is not None and "epochs" not in self.line.uses
        lines = _Lines(self.metric, self._read_line, Curve(at), ends_it)
        answer_file = out if "out" in self.line.uses else None
        reply = call(arguments, self.line.folder, self.timeout, answer_file, lines.take, UNBUFFERED, guarded=True)
        lines.end()
        if lines.error is not None:
            return _Trained(reason=reason_of(lines.error))
        lower = {epoch: values for epoch, values in lines.curve.values.items() if epoch != at}
        if ends_it and lines.curve.reached:
            return _Trained(lines.curve.final(), lower)
        if reply.text is None:
            said = reply.errors or reply.output
            again = reply.status is None or reply.status < 0 or (reply.status > 0 and is_transient(said))
            return _Trained(reason=reason(reply.why, said), transient=again)
        try:
            return _Trained(self._answer(reply.text, lines.curve, at), lower)
        except (TypeError, ValueError) as error:
            said = last_line(reply.text) or reply.output or reply.errors
            return _Trained(reason=reason(str(error), said))

    def _read_line(self, content: Any, what: str) -> Values:
        """The metrics of a JSON object that was printed, the one that is asked for among them."""
        own = number(content[self.metric], what)
        return {**{m: float(v) for m, v in content.items() if m in self.metrics and _is_finite(v)}, self.metric: own}

    def _answer(self, text: str, curve: Curve[Values], at: float | None) -> Values:
        """The metrics in the answer of a command that ended by itself.

        Raises:
            TypeError, ValueError: it has no such number, or is of another epoch.
        """
        if curve.reached:
            return curve.final()
        content = last_object(text)
        by_lines = at is not None and "epochs" not in self.line.uses
        if by_lines and not curve.begun:
            raise ValueError(
                f'the command uses no {{epochs}} and printed no line such as {{"epoch": {at:g}, "{self.metric}": 71.2}}'
            )
        # A number behind such lines may be anything: a file's name, the seconds that it took.
        ends_with_line = content is None or "epoch" in content
        if by_lines or (curve.begun and ends_with_line and "out" not in self.line.uses):
            return curve.final()
        if content is None:
            return {self.metric: self._number(text)}
        if self.metric not in content:
            known = ", ".join(map(str, content)) or "nothing"
            raise ValueError(f"the command's answer has no {self.metric}, only {known}")
        if at is not None and content.get("epoch", at) != at:
            raise ValueError(f"the command's answer is of epoch {content['epoch']}, and not of {at:g}")
        return self._read_line(content, f"the command's {self.metric}")

    def _number(self, text: str) -> float:
        if text.rstrip().endswith("}"):  # the last number in it may be anything
            raise ValueError("the command's answer is no valid JSON")
        if self.metric != "accuracy" or len(self.metrics) > 1:
            raise ValueError(f"the command printed no JSON object with {self.metric}")
        return number(to_float(last_number(text)), f"the command's {self.metric}")


class _Lines:
    """Intermediate values among the lines that a command prints, as it prints them.

    Args:
        metric: that they tell.
        read: see :meth:`Curve.add`; gets the JSON object of a line.
        curve: takes them.
        ends_it: whether the command is ended once the value is known that is asked for.

    Attributes:
        error: what is wrong with them; the command is ended then.
    """

    def __init__(self, metric: str, read: Any, curve: Curve[Values], ends_it: bool):
        self.metric, self.read, self.curve, self.ends_it = metric, read, curve, ends_it
        self.error: Exception | None = None
        self._rest = b""

    def take(self, chunk: bytes) -> bool:
        """Look at a piece of the output; True where the command is to be ended."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = self._rest[-LONGEST_LINE:]
        for line in lines:
            self._look_at(line)
        return self.error is not None or (self.ends_it and self.curve.reached)

    def end(self) -> None:
        """The output is at its end, whose last line may lack its own."""
        self._look_at(self._rest)
        self._rest = b""

    def _look_at(self, line: bytes) -> None:
        text = line.strip().rpartition(b"\r")[2]  # behind what a progress bar wrote over
        if self.error is not None or not (text.startswith(b"{") and text.endswith(b"}")):
            return
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):  # some other line with braces
            return
        if not isinstance(content, dict) or not {"epoch", self.metric} <= content.keys():
            return
        try:
            self.curve.add(content["epoch"], content, self.read)
        except (TypeError, ValueError) as error:
            self.error = error


def command_words(command: str | Sequence[str]) -> tuple[str, ...]:
    """The program and arguments of a command, which as one text is split as a shell would.

    Raises:
        InvalidValue: no such text or list.
    """
    words = CommandLine.split(command, OF) if isinstance(command, str) else command
    CommandLine.check(words, OF)
    return tuple(words)


def check_limits(timeout: Any, retries: Any) -> None:
    """Refuse limits that cannot be used.

    Raises:
        InvalidValue: a time limit that is no number above 0, or retries that are no whole number of 0 or more.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise InvalidValue(f"{OF}: timeout is a number of seconds above 0; got {timeout!r}")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise InvalidValue(f"{OF}: retries is a whole number, 0 or more; got {retries!r}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _shown(words: Sequence[str]) -> str:
    """A command in the names of sources: its words up to the first option or placeholder."""
    kept = [words[0]]
    for word in words[1:]:
        if word.startswith("-") or "{" in word:
            break
        kept.append(word)
    return " ".join([*kept, "..."])

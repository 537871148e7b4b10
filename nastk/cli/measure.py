"""``nastk measure``: latency of built networks on a device, and accuracy of the shipped predictor on it."""

from __future__ import annotations

import signal
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import (
    Archs,
    ArchsFile,
    ArchsOption,
    Batch,
    Calibration,
    DeviceCommand,
    Devices,
    Json,
    Precision,
    RandomArchs,
    Runtime,
    Seed,
    Space,
    Threads,
    count,
)  # fmt: skip

SECONDS = 3.0
"""Time that a network is measured for: more than in a search, since here the latency itself is what is asked for."""

SECONDS_TO_CHECK = 0.6
"""The same with --check-predictor, as a search measures."""


def measure(
    archs: Archs = None,
    more_archs: ArchsOption = None,
    space_name: Space = "nasbench201",
    random: RandomArchs = 0,
    archs_file: ArchsFile = None,
    device: Annotated[
        str, typer.Option("--device", metavar="DEV", help="this, cpu, cuda, or a device of devices.toml.")
    ] = "this",
    devices: Devices = None,
    device_command: DeviceCommand = None,
    for_device: Annotated[
        Path | None,
        typer.Option(
            "--for-device", metavar="DIR", help="Measure nothing: write networks' files and a CSV to fill in."
        ),
    ] = None,
    choose: Annotated[
        int, count("--choose", "With --for-device and no architectures: as many as the predictor asks for.", least=2)
    ] = 10,
    file_format: Annotated[
        str, typer.Option("--format", metavar="F", help="With --for-device: onnx, torchscript, pt2 or tflite.")
    ] = "onnx",
    threads: Threads = 1,
    batch: Batch = 1,
    runtime: Runtime = "torch",
    precision: Precision = "fp32",
    calibration: Calibration = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="S",
            min=0.01,
            max=3600.0,
            help="Time to measure each network for; more repeats better.  [3; with --check-predictor 0.6]",
            show_default=False,
        ),
    ] = None,
    repeatability: Annotated[
        int | None,
        typer.Option(
            "--repeatability",
            metavar="N",
            min=2,
            max=100,
            help="Measure all N times, each in a process of its own, and compare.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check-predictor", help="Adapt the shipped predictor to a few measurements; test it on others."),
    ] = False,
    adapt: Annotated[int, count("--adapt", "With --check-predictor: measurements to adapt to.", least=2)] = 10,
    test: Annotated[int, count("--test", "With --check-predictor: measurements to test on.", least=3)] = 100,
    runs: Annotated[int, count("--runs", "With --check-predictor: repetitions.")] = 3,
    seed: Seed = 0,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the table to this file.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Measure architectures on a device: median latency, spread, repeats, peak memory; also counts.

    A network that cannot be built or run is left empty, with its reason; after Ctrl-C what was measured is written.
    """
    import numpy as np

    from nastk.cli.inputs import read_archs
    from nastk.cli.options import Interrupted, end_by
    from nastk.data.device_file import UserDevices
    from nastk.data.measured import read_archs as read_archs_file
    from nastk.errors import InvalidValue, NastkError
    from nastk.files import check_outputs
    from nastk.oracles.latency import Latency
    from nastk.oracles.on_device import oracle_on
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show
    from nastk.run import MEASURED
    from nastk.spaces.factory import space as named
    from nastk.spaces.precisions import MARK, WithPrecision, in_precisions, read_precisions

    networks = named(space_name)
    space: Any = networks
    texts = [*(archs or []), *(more_archs or [])]
    precision = read_precisions(precision)
    if seconds is not None and not isfinite(seconds):
        raise InvalidValue(f"--seconds is {seconds}, must be a number of seconds")
    how = {"runtime": runtime, "threads": threads, "batch": batch, "precision": precision, "calibration": calibration}

    def chosen() -> Any:
        """The architectures that were given."""
        empty = space.sample(0, seed)
        marked = [text for text in texts if MARK in text and isinstance(space, WithPrecision)]
        plain = read_archs(networks, [text for text in texts if text not in marked])
        listed = networks.sample(0, seed)
        if archs_file is not None:
            # rows of such a search name their precision, and are measured in that one alone
            if isinstance(space, WithPrecision) and MARK in archs_file.read_text("utf-8", errors="replace"):
                empty = read_archs_file(archs_file, space)
            else:
                listed = read_archs_file(archs_file, networks)
        each = np.concatenate([plain, listed, networks.sample_networks(random, seed)])
        if isinstance(space, WithPrecision):  # each network in each precision, side by side
            each = space.in_each(each)
        return np.concatenate([read_archs(space, marked), empty, each]) if len(marked) or len(empty) else each

    if for_device is not None:
        if check or csv_file is not None or json_file is not None:
            raise InvalidValue("--for-device measures nothing; leave out --check-predictor, --csv and --json")
        if device != "this" or devices is not None or device_command is not None:
            raise InvalidValue("--for-device is for a device that is not connected; leave out the device")
        if seconds is not None or repeatability is not None:
            raise InvalidValue("--for-device measures nothing; leave out --seconds and --repeatability")
        unused = {name: value for name, value in how.items() if name != "batch" and value != MEASURED[name]}
        for name, value in unused.items():
            files = (
                " and writes float32 files: quantise them with the device's own tools" if name == "precision" else ""
            )
            raise InvalidValue(f"--{name} {value}: --for-device measures nothing{files}; leave it out")
        given = chosen() if texts or archs_file or random else None
        write_files(space_name, given, for_device, choose, file_format, batch, seed)
        return
    if choose != 10 or file_format != "onnx":
        raise InvalidValue("--choose and --format are for --for-device DIR; leave them out, or give it")
    commands, device = UserDevices.asked(device, devices, device_command)
    space = in_precisions(networks, precision)
    oracle: Any = oracle_on(space, device, commands, how, MEASURED)
    timing: dict[str, float] = {}
    if isinstance(oracle, Latency):
        timing["max_seconds"] = oracle.max_seconds = seconds or (SECONDS_TO_CHECK if check else SECONDS)
    elif seconds is not None or repeatability is not None:
        raise InvalidValue("--seconds and --repeatability are of this machine; how often a command is called it says")
    check_outputs([csv_file, json_file])
    asked = 0
    if check:
        if repeatability is not None:
            raise InvalidValue("--repeatability and --check-predictor are two questions; ask one of them")
        if texts or random or archs_file:
            raise InvalidValue("--check-predictor draws its own architectures; remove other architectures and --random")
        if oracle.name != "latency":
            raise InvalidValue(f"--check-predictor is of latency, and device {device} measures {oracle.name}")
        rows, stopped = check_device(oracle, adapt, test, runs, seed)
        title = f"few-shot-gp adapted to {adapt} measurements, tested on {test} others ({oracle.source})"
    else:
        if not texts and not random and archs_file is None:
            raise InvalidValue("nothing to measure: give architectures as arguments, or --random N")
        to_measure = chosen()
        if repeatability is not None:
            compare_runs(
                space, space_name, to_measure, {**how, "device": device, **timing}, repeatability, csv_file, json_file
            )
            return
        rows, stopped = measured_rows(space, oracle, to_measure)
        asked = len(to_measure)
        title = oracle.source
    if not rows:
        raise Interrupted(f"{end_by(stopped or signal.SIGINT)}: nothing was measured yet", stopped or signal.SIGINT)
    if csv_file is not None:
        write_csv(csv_file, rows)
    if json_file is not None:
        write_json(json_file, rows)
    none = not check and len(rows) == asked and not any(row["repeats"] for row in rows)
    alone = none and len({row["arch"] for row in rows}) == 1
    if not check and not alone:  # the reason of a single network is the error, below
        say_failures(oracle.reasons)
    hidden = ("low", "high", "reason", "processor", "difference")
    shown = [{k: v for k, v in row.items() if k not in hidden} for row in rows]
    show(shown, title=title, shorten=("arch",))
    for conditions in getattr(oracle, "conditions", ()):  # a command's are not known
        typer.echo(conditions.describe())
    if stopped is not None:
        done = f"{len(rows)} of {asked} measured" if not check else "the runs before it are shown"
        raise Interrupted(f"{end_by(stopped)}: {done}{_saved(csv_file, json_file)}", stopped)
    if alone:
        raise NastkError(f"{rows[0]['arch']} could not be measured: {rows[0]['reason']}")
    if none:
        raise NastkError(f"none of the {len(rows)} networks could be measured; the first: {rows[0]['reason']}")


def write_files(
    space_name: str, archs: Any, folder: Path, choose: int, file_format: str, batch: int, seed: int
) -> None:
    """Networks' files for a device that is not connected: of these architectures, or of those that the few-shot
    predictor asks for."""
    from nastk.cli.progress import bar
    from nastk.oracles.for_device import CSV, README, check_folder, write_for_device
    from nastk.report.text import printable
    from nastk.run import shipped_weights
    from nastk.search.defaults import latency_predictor
    from nastk.spaces.factory import space as named

    check_folder(folder)
    space = named(space_name)
    if archs is None:
        archs = latency_predictor(space).choose(choose, seed=seed, space=space)
    with bar(len(archs), "writing") as progress:
        failed = write_for_device(
            folder, space, archs, file_format, batch, lambda *_: progress.update(), space_name,
            needs_accuracy=shipped_weights(space) is None,
        )  # fmt: skip
    say_failures(failed)
    written = len(archs) - len(failed)
    typer.echo(printable(f"{written} network{'s' * (written > 1)}, {CSV} to fill in and {README} are in {folder}"))


def measured_rows(space: Any, oracle: Any, archs: Any) -> tuple[list[dict[str, Any]], int | None]:
    """One row per architecture: counts and measurements, and the reason where some failed.

    After Ctrl-C only the rows of what was measured before, and the number of the signal.
    """
    from nastk.cli.options import number_of
    from nastk.cli.progress import bar

    statics, stopped = space.statics(archs), None
    measurements: list[Any] = []
    with bar(len(archs), "measuring") as progress:
        oracle.progress = lambda *_: progress.update()
        try:
            for start in range(0, len(archs), oracle.together):
                measurements += oracle.measure_many(archs[start : start + oracle.together])
        except KeyboardInterrupt as interrupt:
            stopped = number_of(interrupt)
    rows = []
    for i, (text, found) in enumerate(zip(space.format_all(archs), measurements, strict=False)):
        counts = {name: int(statics[name][i]) for name in ("params", "flops") if name in statics}
        rows.append({"arch": text, **counts, **(answered(found) if hasattr(oracle, "spec") else timed(found))})
    if oracle.reasons:
        rows = [{**row, "reason": oracle.reasons.get(row["arch"], "")} for row in rows]
    return rows, stopped


def timed(found: Any) -> dict[str, Any]:
    """Columns of what a runtime of this machine measured."""
    from math import isnan

    times = {
        "ms": found.median,
        "low": found.low,
        "high": found.high,
        "±%": 50 * (found.high - found.low) / found.median,
    }
    seen = {"p50": found.wall, "p90": found.p90, "processor": found.processor, "spread": found.spread}
    memory = {} if isnan(found.peak_memory) else {"peak MB": found.peak_memory}
    outputs = {}
    if found.agreement is not None:
        agreed = found.agreement
        outputs = {"difference": agreed.difference, "cosine": agreed.cosine, "first class": agreed.first_class}
    return {**times, **seen, "repeats": found.repeats, **memory, **outputs}


def answered(found: Any) -> dict[str, Any]:
    """Columns of what a command answered: median and spread of its calls, by metric."""
    columns = {"latency": "ms", "energy": "mJ", "memory": "peak MB"}
    values: dict[str, Any] = {}
    for metric in found.metrics:
        spread = "spread" if columns[metric] == "ms" else f"{columns[metric]} spread"
        values |= {columns[metric]: found.median(metric), spread: found.spread(metric)}
    return {**values, "repeats": max((len(v) for v in found.values.values()), default=0)}


def _saved(*files: Path | None) -> str:
    """Where rows were written to, if anywhere."""
    names = " and ".join(str(file) for file in files if file is not None)
    return f", saved to {names}" if names else ""


def compare_runs(
    space: Any, name: str, archs: Any, how: dict[str, Any], times: int, csv_file: Path | None, json_file: Path | None
) -> None:
    """Measure the same architectures several times, each in a fresh process, and show how far the runs agree."""
    from nastk.bench.repeatability import repeat, repeatability_rows
    from nastk.cli.options import Interrupted, end_by, number_of
    from nastk.cli.progress import bar
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show

    found, stopped = [], None
    with bar(times, "measuring") as progress:
        try:
            for one in repeat(name, space.format_all(archs), how, times):
                found.append(one)
                progress.update()
        except KeyboardInterrupt as interrupt:
            stopped = number_of(interrupt)
    if len(found) < 2:
        number = stopped or signal.SIGINT
        raise Interrupted(f"{end_by(number)}: {len(found)} of {times} runs; two can be compared", number)
    rows = repeatability_rows(found)
    if csv_file is not None:
        write_csv(csv_file, rows)
    if json_file is not None:
        write_json(json_file, rows)
    show(rows, title=f"{len(found)} runs over {rows[0]['networks']} networks")
    for i, run in enumerate(found):
        say_failures(run.reasons)
        for conditions in run.conditions:
            typer.echo(f"run {i + 1}: {conditions}")
    if stopped is not None:
        raise Interrupted(f"{end_by(stopped)}: {len(found)} of {times} runs{_saved(csv_file, json_file)}", stopped)


def say_failures(reasons: dict[str, str]) -> None:
    from nastk.report.text import printable

    for text, reason in reasons.items():
        typer.echo(printable(f"{text}: failed: {reason}"), err=True)


def check_device(oracle: Any, adapt: int, test: int, runs: int, seed: int) -> tuple[list[dict[str, Any]], int | None]:
    """Adapt the shipped latency predictor to a few measurements, and test it on others, `runs` times.

    After Ctrl-C the rows of whole runs, and the number of the signal.
    """
    from nastk.bench.own_device import check_predictor, means
    from nastk.cli.options import number_of
    from nastk.cli.progress import bar
    from nastk.search.defaults import latency_predictor
    from nastk.spaces.precisions import WithPrecision

    space: Any = oracle.space
    several = 1
    if isinstance(space, WithPrecision):
        space, several = space.networks, len(space.precisions)
    rows: list[dict[str, Any]] = []
    stopped = None
    with bar(runs * several * (adapt + test), "measuring") as progress:
        oracle.progress = lambda *_: progress.update()
        try:
            for run in check_predictor(latency_predictor(space), oracle, adapt, test, runs, seed, say_failures):
                rows += run
        except KeyboardInterrupt as interrupt:
            stopped = number_of(interrupt)
    return [*rows, *means(rows)] if rows else [], stopped

"""``nastk measure``: latency of built networks on a device, and accuracy of the shipped predictor on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import (
    Archs,
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


def measure(
    archs: Archs = None,
    more_archs: ArchsOption = None,
    space_name: Space = "nasbench201",
    random: RandomArchs = 0,
    archs_file: Annotated[
        Path | None, typer.Option("--archs-file", metavar="FILE", help="Also the architectures of a CSV file.")
    ] = None,
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
    from nastk.cli.options import Interrupted
    from nastk.data.device_file import UserDevices
    from nastk.data.measured import read_archs as read_archs_file
    from nastk.errors import InvalidValue, NastkError
    from nastk.files import check_outputs
    from nastk.oracles.on_device import oracle_on
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show
    from nastk.run import MEASURED
    from nastk.spaces.factory import space as named

    space = named(space_name)
    texts = [*(archs or []), *(more_archs or [])]
    how = {"runtime": runtime, "threads": threads, "batch": batch, "precision": precision, "calibration": calibration}

    def chosen() -> Any:
        """The architectures that were given."""
        listed = space.sample(0, seed) if archs_file is None else read_archs_file(archs_file, space)
        return np.concatenate([read_archs(space, texts), listed, space.sample_networks(random, seed)])

    if for_device is not None:
        if check or csv_file is not None or json_file is not None:
            raise InvalidValue("--for-device measures nothing; leave out --check-predictor, --csv and --json")
        if device != "this" or devices is not None or device_command is not None:
            raise InvalidValue("--for-device is for a device that is not connected; leave out the device")
        unused = {name: value for name, value in how.items() if name != "batch" and value != MEASURED[name]}
        for name, value in unused.items():
            raise InvalidValue(f"--{name} {value}: --for-device measures nothing; leave it out")
        given = chosen() if texts or archs_file or random else None
        write_files(space_name, given, for_device, choose, file_format, batch, seed)
        return
    if choose != 10 or file_format != "onnx":
        raise InvalidValue("--choose and --format are for --for-device DIR; leave them out, or give it")
    commands, device = UserDevices.asked(device, devices, device_command)
    oracle: Any = oracle_on(space, device, commands, how, MEASURED)
    check_outputs([csv_file, json_file])
    asked = 0
    if check:
        if texts or random or archs_file:
            raise InvalidValue("--check-predictor draws its own architectures; remove other architectures and --random")
        if oracle.name != "latency":
            raise InvalidValue(f"--check-predictor is of latency, and device {device} measures {oracle.name}")
        rows = check_predictor(space, oracle, adapt, test, runs, seed)
        title = f"few-shot-gp adapted to {adapt} measurements, tested on {test} others ({oracle.source})"
    else:
        if not texts and not random and archs_file is None:
            raise InvalidValue("nothing to measure: give architectures as arguments, or --random N")
        to_measure = chosen()
        rows, asked = measured_rows(space, oracle, to_measure), len(to_measure)
        title = oracle.source
    if not rows:
        raise Interrupted("interrupted: nothing was measured yet")
    if csv_file is not None:
        write_csv(csv_file, rows)
    if json_file is not None:
        write_json(json_file, rows)
    none = not check and len(rows) == asked and not any(row["repeats"] for row in rows)
    alone = none and len({row["arch"] for row in rows}) == 1
    if not check and not alone:  # the reason of a single network is the error, below
        say_failures(oracle.reasons)
    shown = [{k: v for k, v in row.items() if k not in ("low", "high", "reason")} for row in rows]
    show(shown, title=title, shorten=("arch",))
    if not check and len(rows) < asked:
        files = " and ".join(str(file) for file in (csv_file, json_file) if file is not None)
        raise Interrupted(f"interrupted: {len(rows)} of {asked} measured{f', saved to {files}' if files else ''}")
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
    from nastk.search.defaults import latency_predictor
    from nastk.spaces.factory import space as named

    check_folder(folder)
    space = named(space_name)
    if archs is None:
        archs = latency_predictor(space).choose(choose, seed=seed, space=space)
    with bar(len(archs), "writing") as progress:
        failed = write_for_device(folder, space, archs, file_format, batch, lambda *_: progress.update(), space_name)
    say_failures(failed)
    written = len(archs) - len(failed)
    typer.echo(printable(f"{written} networks, {CSV} to fill in and {README} are in {folder}"))


def measured_rows(space: Any, oracle: Any, archs: Any) -> list[dict[str, Any]]:
    """One row per architecture: counts and measurements, and the reason where some failed.

    After Ctrl-C only the rows of what was measured before.
    """
    from nastk.cli.progress import bar

    statics = space.statics(archs)
    measurements: list[Any] = []
    with bar(len(archs), "measuring") as progress:
        oracle.progress = lambda *_: progress.update()
        try:
            for start in range(0, len(archs), oracle.together):
                measurements += oracle.measure_many(archs[start : start + oracle.together])
        except KeyboardInterrupt:
            pass
    rows = []
    for i, (text, found) in enumerate(zip(space.format_all(archs), measurements, strict=False)):
        counts = {name: int(statics[name][i]) for name in ("params", "flops") if name in statics}
        rows.append({"arch": text, **counts, **(answered(found) if hasattr(oracle, "spec") else timed(found))})
    if oracle.reasons:
        rows = [{**row, "reason": oracle.reasons.get(row["arch"], "")} for row in rows]
    return rows


def timed(found: Any) -> dict[str, Any]:
    """Columns of what a runtime of this machine measured."""
    times = {"ms": found.median, "low": found.low, "high": found.high, "spread": found.spread}
    return {**times, "repeats": found.repeats, "peak MB": found.peak_memory}


def answered(found: Any) -> dict[str, Any]:
    """Columns of what a command answered: median and spread of its calls, by metric."""
    columns = {"latency": "ms", "energy": "mJ", "memory": "peak MB"}
    values: dict[str, Any] = {}
    for metric in found.metrics:
        spread = "spread" if columns[metric] == "ms" else f"{columns[metric]} spread"
        values |= {columns[metric]: found.median(metric), spread: found.spread(metric)}
    return {**values, "repeats": max((len(v) for v in found.values.values()), default=0)}


def say_failures(reasons: dict[str, str]) -> None:
    from nastk.report.text import printable

    for text, reason in reasons.items():
        typer.echo(printable(f"{text}: failed: {reason}"), err=True)


def check_predictor(space: Any, oracle: Any, adapt: int, test: int, runs: int, seed: int) -> list[dict[str, Any]]:
    """Adapt the shipped latency predictor to `adapt` measurements and test it on `test` others, `runs` times.

    The architectures to adapt to are chosen before any measurement; those to test on are random ones of the rest. All
    are interleaved in one measurement, so that changes of the machine's speed do not count as errors of the predictor.

    Raises:
        NastkError: too few networks could be measured.
    """
    import numpy as np

    from nastk.cli.progress import bar
    from nastk.errors import NastkError
    from nastk.metrics import spearman
    from nastk.predictors.base import Task
    from nastk.search.defaults import latency_predictor

    few = latency_predictor(space)
    rows = []
    with bar(runs * (adapt + test), "measuring") as progress:
        oracle.progress = lambda *_: progress.update()
        for run in range(runs):
            chosen = few.choose(adapt, seed=np.random.default_rng([seed, run]), space=space)
            taken = set(space.keys(chosen))
            enough = min(test + 20 * adapt, space.size)
            drawn = space.sample(enough, np.random.default_rng([seed, run, 1]), unique=True)
            fresh = drawn[[k not in taken for k in space.keys(drawn)]][:test]
            oracle.together = adapt + test
            values = oracle(np.concatenate([chosen, fresh]))
            known = np.isfinite(values)
            to, measured = known[:adapt], values[adapt:][known[adapt:]]
            say_failures({text: oracle.reasons.pop(text) for text in list(oracle.reasons)})
            if to.sum() < 2 or len(measured) < 3:
                raise NastkError(
                    f"only {to.sum()} networks to adapt to and {len(measured)} to test on could be measured; at least "
                    "2 and 3 are needed"
                )
            task = Task(space, chosen[to], values[:adapt][to], "latency", "ms", "min", device="this")
            predicted = few.adapt(task).predict(fresh[known[adapt:]]).mean
            error = np.median(np.abs(predicted / measured - 1.0)) * 100
            rows.append(
                {"run": str(run + 1), "spearman": spearman(predicted, measured), "median error %": float(error)}
            )
    mean = {k: float(np.mean([r[k] for r in rows])) for k in ("spearman", "median error %")}
    return [*rows, {"run": "mean", **mean}]

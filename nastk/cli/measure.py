"""``nastk measure``: latency of built networks on this machine, and accuracy of the shipped predictor on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import (
    Archs,
    ArchsOption,
    Batch,
    Calibration,
    Json,
    Precision,
    RandomArchs,
    Runtime,
    Seed,
    Space,
    Threads,
    count,
)  # fmt: skip

SECONDS = 2.0
"""Time that a network is measured for: more than in a search, since here the latency itself is what is asked for."""

SECONDS_TO_CHECK = 0.6
"""The same with --check-predictor, as a search measures."""


def measure(
    archs: Archs = None,
    more_archs: ArchsOption = None,
    space_name: Space = "nasbench201",
    random: RandomArchs = 0,
    device: Annotated[str, typer.Option("--device", metavar="DEV", help="this, cpu or cuda.")] = "this",
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
            help="Time to measure each network for; more repeats better.  [2; with --check-predictor 0.6]",
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
    """Measure architectures on this machine: median latency, spread, repeats, peak memory; also counts.

    A network that cannot be built or run is left empty, with its reason; after Ctrl-C what was measured is written.
    """
    from nastk.cli.inputs import read_archs
    from nastk.cli.options import Interrupted
    from nastk.errors import InvalidValue, NastkError
    from nastk.files import check_outputs
    from nastk.oracles.latency import Latency
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show
    from nastk.spaces.factory import space as named

    space = named(space_name)
    how: dict[str, Any] = {
        "device": device, "runtime": runtime, "batch": batch, "threads": threads, "precision": precision,
        "calibration": calibration, "max_seconds": seconds or (SECONDS_TO_CHECK if check else SECONDS),
    }  # fmt: skip
    oracle = Latency(space, **how)
    texts = [*(archs or []), *(more_archs or [])]
    check_outputs([csv_file, json_file])
    asked = 0
    if check:
        if repeatability is not None:
            raise InvalidValue("--repeatability and --check-predictor are two questions; ask one of them")
        if texts or random:
            raise InvalidValue("--check-predictor draws its own architectures; remove other architectures and --random")
        rows = check_predictor(space, oracle, adapt, test, runs, seed)
        title = f"few-shot-gp adapted to {adapt} measurements, tested on {test} others ({oracle.source})"
    else:
        import numpy as np

        if not texts and not random:
            raise InvalidValue("nothing to measure: give architectures as arguments, or --random N")
        chosen = np.concatenate([read_archs(space, texts), space.sample_networks(random, seed)])
        if repeatability is not None:
            compare_runs(space, space_name, chosen, how, repeatability, csv_file, json_file)
            return
        rows, asked = measured_rows(space, oracle, chosen), len(chosen)
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
    hidden = ("low", "high", "reason", "processor", "difference")
    shown = [{k: v for k, v in row.items() if k not in hidden} for row in rows]
    show(shown, title=title, shorten=("arch",))
    for conditions in oracle.conditions:
        typer.echo(conditions.describe())
    if not check and len(rows) < asked:
        files = " and ".join(str(file) for file in (csv_file, json_file) if file is not None)
        raise Interrupted(f"interrupted: {len(rows)} of {asked} measured{f', saved to {files}' if files else ''}")
    if alone:
        raise NastkError(f"{rows[0]['arch']} could not be measured: {rows[0]['reason']}")
    if none:
        raise NastkError(f"none of the {len(rows)} networks could be measured; the first: {rows[0]['reason']}")


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
        rows.append({"arch": text, **counts, **timed(found)})
    if oracle.reasons:
        rows = [{**row, "reason": oracle.reasons.get(row["arch"], "")} for row in rows]
    return rows


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


def compare_runs(
    space: Any, name: str, archs: Any, how: dict[str, Any], times: int, csv_file: Path | None, json_file: Path | None
) -> None:
    """Measure the same architectures several times, each in a fresh process, and show how far the runs agree."""
    from nastk.bench.repeatability import repeat, repeatability_rows
    from nastk.cli.progress import bar, follow
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show

    with bar(times, "measuring") as progress:
        found = repeat(name, space.format_all(archs), how, times, follow(progress))
    rows = repeatability_rows(found)
    if csv_file is not None:
        write_csv(csv_file, rows)
    if json_file is not None:
        write_json(json_file, rows)
    show(rows, title=f"{times} runs over {len(archs)} networks")
    for i, run in enumerate(found):
        say_failures(run.reasons)
        for conditions in run.conditions:
            typer.echo(f"run {i + 1}: {conditions}")


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

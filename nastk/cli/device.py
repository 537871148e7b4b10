"""``nastk device``: what this machine can measure, and the same networks in all runtimes side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nastk.cli.options import (
    Archs,
    ArchsOption,
    Batch,
    Calibration,
    Devices,
    Json,
    RandomArchs,
    Seed,
    Space,
    Threads,
    words,
)

app = typer.Typer(no_args_is_help=True, help="What can be measured here, and runtimes side by side.")


@app.command("list")
def list_(devices: Devices = None, json_file: Json = None) -> None:
    """List devices x runtimes x precisions that this machine can measure, and what is missing for the others.

    Then the devices behind a command of yours (devices.toml).
    """
    from nastk.bench.runtimes import behind_commands, by_runtime, measurable
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    check_outputs([json_file])
    own = behind_commands(devices)  # first: a mistake in the file is said at once
    rows = measurable()
    if json_file is not None:
        write_json(json_file, [*rows, *own])
    show(by_runtime(rows))
    if own:
        shown = [{"device": row["device"], "command": row["command"], "problem": row["reason"]} for row in own]
        show(shown, title="behind a command")


@app.command("test")
def side_by_side(
    archs: Archs = None,
    more_archs: ArchsOption = None,
    space_name: Space = "nasbench201",
    random: RandomArchs = 0,
    runtimes: Annotated[
        str | None, typer.Option("--runtime", metavar="A,B,...", help="Runtimes; by default all that can be measured.")
    ] = None,
    precisions: Annotated[
        str | None, typer.Option("--precision", metavar="P,...", help="By default all that each runtime has here.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="DEV", help="this, cpu or cuda.")] = "this",
    threads: Threads = 1,
    batch: Batch = 1,
    calibration: Calibration = None,
    seed: Seed = 0,
    json_file: Json = None,
) -> None:
    """Run the same networks in all runtimes: latency, outputs beside PyTorch's, size of the file, memory; failures.

    One network by default; with several a row sums up all of a runtime and precision.
    """
    from nastk.bench import runtimes as bench
    from nastk.cli.options import Interrupted
    from nastk.data.device_file import UserDevices
    from nastk.devices import describe_device
    from nastk.errors import InvalidValue, NastkError
    from nastk.files import check_outputs
    from nastk.report.rows import write_json
    from nastk.report.tables import show
    from nastk.runtimes._calibration import read_calibration
    from nastk.spaces.factory import space as named

    space = named(space_name)
    check_outputs([json_file])
    if UserDevices().find(device) is not None:
        raise InvalidValue(
            f"--device {device} is behind a command, and this compares runtimes of this machine; "
            f"nastk measure --device {device} --random 1 tries it"
        )
    chosen = bench.settings(
        None if runtimes is None else words("--runtime", runtimes),
        None if precisions is None else words("--precision", precisions),
        device,
    )
    values = read_calibration(calibration)
    if values is not None and all(one.precision != "int8" for one in chosen):
        raise InvalidValue("--calibration is of int8, which is not among what is compared; leave it out")
    rows_of = _chosen(space, [*(archs or []), *(more_archs or [])], random, seed)
    say_duration(bench.seconds_to_prepare(chosen, len(rows_of)), chosen)
    rows, done = measured(space, rows_of, chosen, device, threads, batch, values)
    if not rows:
        raise Interrupted("interrupted: nothing was measured yet")
    if json_file is not None:
        write_json(json_file, rows)
    single = len(rows_of) == 1
    clock = "; latencies are processor time, since other work disturbs" if _disturbed(rows) else ""
    where = f"{describe_device(device)}, batch {batch}, {threads} thread{'s' * (threads > 1)}{clock}"
    if single:
        title, shown = f"{rows[0]['arch']}; {where}", [{k: v for k, v in r.items() if k not in HIDDEN} for r in rows]
    else:
        title, shown = f"{done} networks of {space.name}; {where}", bench.summary(rows)
    show(shown, title=title)
    if failed := bench.failures(rows):
        show(failed, title="failed")
    if done < len(rows_of):
        saved = "" if json_file is None else f", saved to {json_file}"
        raise Interrupted(f"interrupted: {done} of {len(rows_of)} networks{saved}")
    if all(row["reason"] for row in rows):
        raise NastkError(f"no runtime runs {'it' if single else 'any of them'}; the first reason: {rows[0]['reason']}")


def _disturbed(rows: list[dict[str, Any]]) -> bool:
    return sum(row["clock"] == "processor" for row in rows) > len(rows) / 2


HIDDEN = ("arch", "examples", "reason", "clock")
"""Columns that the table of one network leaves out: above it, and in the table of failures."""


def _chosen(space: Any, texts: list[str], random: int, seed: int) -> Any:
    import numpy as np

    from nastk.cli.inputs import read_archs

    if not texts and not random:
        random = 1
    return np.concatenate([read_archs(space, texts), space.sample_networks(random, seed)])


def measured(
    space: Any, archs: Any, chosen: Any, device: str, threads: int, batch: int, calibration: Any
) -> tuple[list[dict[str, Any]], int]:
    """Rows of all networks, and how many networks that are; after Ctrl-C those of before."""
    from nastk.bench.runtimes import compare
    from nastk.cli.progress import bar

    rows: list[dict[str, Any]] = []
    done = 0
    with bar(len(archs) * len(chosen), "testing") as progress:
        try:
            for found in compare(
                space, archs, chosen, device, threads, batch, calibration, progress=lambda: progress.update()
            ):
                rows += found
                done += 1
        except KeyboardInterrupt:
            pass
    return rows, done


def say_duration(seconds: float, chosen: Any) -> None:
    """Say what exporting and compiling will take where that is longer than a minute."""
    if seconds > 60:
        slowest = sorted({one.runtime for one in chosen}, key=_seconds)[-1]
        typer.echo(
            f"exporting and compiling takes up to about {seconds / 60:.0f} minutes on one thread, most of it for "
            f"{slowest}; --runtime and --precision choose",
            err=True,
        )


def _seconds(name: str) -> float:
    from nastk.runtimes.base import runtime_class

    return runtime_class(name).seconds_to_prepare

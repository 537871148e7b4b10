"""``nastk predict``: latencies of all architectures from a few of the user's measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nastk.cli.options import (
    LEAVE_OUT,
    Archs,
    ArchsFile,
    ArchsOption,
    Batch,
    Calibration,
    DeviceCommand,
    Devices,
    Json,
    LocalSources,
    LocalSourcesTime,
    Precision,
    Runtime,
    Seed,
    Space,
    Threads,
    count,
    seconds,
)  # fmt: skip

if TYPE_CHECKING:
    from nastk.data.measured import Measured

SHOWN = 20
"""Most rows printed; --csv writes all."""
MORE = 10
"""Further measurements whose worth is told."""
ALIKE = 0.5
"""Least Spearman correlation with the measurements of a device that the measured one is said to resemble."""


def predict(
    archs: Archs = None,
    more_archs: ArchsOption = None,
    archs_file: ArchsFile = None,
    measured: Annotated[
        Path | None,
        typer.Option("--measured", metavar="FILE", help="Your measurements: a CSV file with columns arch, ms."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEV", help="Instead: measure a few there: this, cuda, or of devices.toml."),
    ] = None,
    devices: Devices = None,
    device_command: DeviceCommand = None,
    adapt: Annotated[int, count("--adapt", "With --device: measurements to adapt to.", least=2)] = 10,
    measurements: Annotated[Path | None, typer.Option("--measurements", metavar="FILE", hidden=True)] = None,
    threads: Threads = 1,
    batch: Batch = 1,
    runtime: Runtime = "torch",
    precision: Precision = "fp32",
    calibration: Calibration = None,
    seed: Seed = 0,
    save_measured: Annotated[
        Path | None,
        typer.Option("--save-measured", metavar="FILE", help="With --device: a CSV file to keep the measurements in."),
    ] = None,
    space_name: Space = "nasbench201",
    everything: Annotated[bool, typer.Option("--all", help="Predict the whole space; the default.")] = False,
    predictor: Annotated[
        str, typer.Option("--predictor", metavar="P", help="Predictor that learns from the measurements.")
    ] = "few-shot-gp",
    pretrained: Annotated[
        bool | None,
        typer.Option(
            "--pretrained/--from-scratch", help="Start from the shipped weights (the default if there are any)."
        ),
    ] = None,
    local_sources: LocalSources = None,
    local_sources_time: LocalSourcesTime = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all predictions to this file.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Adapt the shipped latency predictor to a few measurements; predict others, with 95 % intervals.

    For a space without shipped weights, networks measured on this machine take the place of its source devices; they
    join those of mobilenetv3 and gpt, which are graphics processors alone.

    The measurements are those of a file, or are made on a device: this machine's, or one behind a command.
    """
    import numpy as np

    from nastk.cli.inputs import read_archs
    from nastk.data.device_file import UserDevices
    from nastk.data.measured import read_archs as read_archs_file
    from nastk.devices import is_live
    from nastk.errors import InvalidValue
    from nastk.files import check_outputs
    from nastk.oracles._settings import Setting
    from nastk.oracles.on_device import oracle_on
    from nastk.predictors._local_sources import SECONDS
    from nastk.predictors.base import Task
    from nastk.predictors.factory import predictor as named_predictor
    from nastk.predictors.factory import weights
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show
    from nastk.report.text import printable
    from nastk.run import MEASURED
    from nastk.search.defaults import latency_predictor, learns_sources, read_measured, sources_here
    from nastk.spaces.factory import space as named

    if device is None and device_command is None and measured is None and measurements is None:
        raise InvalidValue(
            "give your measurements: --measured FILE.csv, with the columns arch and ms; or a --device to measure"
        )
    if measured is not None and measurements is not None:
        raise InvalidValue("--measurements FILE is the old name of --measured FILE; give one of them")
    file = measured or measurements
    how = {"runtime": runtime, "threads": threads, "batch": batch, "precision": precision, "calibration": calibration}
    if file is not None:
        _refuse_device(device, devices, device_command, save_measured, how)
    space = named(space_name)
    texts = [*(archs or []), *(more_archs or [])]
    wanted = bool(texts) or archs_file is not None
    if wanted and everything:
        raise InvalidValue("give architectures as arguments or --all, not both")
    if not wanted and not space.enumerable:
        raise InvalidValue(f"{space.whole.name} is too large to predict as a whole; name architectures as arguments")
    if pretrained and f"{predictor}-{space.name}" not in weights():
        have = ", ".join(sorted(weights()))
        raise InvalidValue(f"no weights of {predictor} for {space.name} are shipped, only {have}; remove --pretrained")
    check_outputs([csv_file, json_file, save_measured])
    learner = named_predictor(predictor) if pretrained is False else latency_predictor(space, name=predictor)
    # all that can be wrong is read before anything is measured
    asked = read_archs(space, texts) if wanted else None
    if archs_file is not None:
        asked = np.concatenate([asked, read_archs_file(archs_file, space)])
    if file is not None:
        found, where, elsewhere = read_measured(space, file), str(file), True
    else:
        commands, name = UserDevices.asked(device or "this", devices, device_command)
        oracle, elsewhere = oracle_on(space, name, commands, how, MEASURED), not is_live(name)
    here = sources_here(
        space,
        local_sources,
        SECONDS if local_sources_time is None else seconds("--local-sources-time", local_sources_time),
        learned=pretrained is not False and learns_sources(learner),
        elsewhere=elsewhere,
        but=[] if elsewhere else [Setting(runtime, precision, threads, batch)],
    )
    if here is not None:
        _learn_sources(learner, here)
    if file is None:
        found, where = _measure(oracle, learner.choose(adapt, seed=seed, space=space), save_measured), "the measurement"
    known, values = found.archs, found.values
    if asked is None:
        asked = space.enumerate()
        asked = asked[space.distinct(asked)]
        asked = asked[~found.have_failed(space, asked)]
    fitted = learner.adapt(Task(space, known, values, "latency", "ms", "min", device="this"))
    rows = _rows(space, asked, fitted)
    if csv_file is not None:
        write_csv(csv_file, rows)
    if json_file is not None:
        write_json(json_file, rows)
    if measurements is not None:
        typer.echo("nastk: warning: --measurements FILE is now --measured FILE, and will be a number", err=True)
    ordered = rows if wanted else sorted(rows, key=lambda r: r["ms"])
    title = f"latency predicted by {predictor} from {len(values)} measurements (estimates; 95 % intervals)"
    show(ordered[:SHOWN], title=title, shorten=("arch",))
    if len(rows) > SHOWN:
        rest = f"{len(rows) - SHOWN:,} more" + ("" if wanted else " (here: the fastest)")
        typer.echo(f"and {rest}" + (f", all in {csv_file}" if csv_file else "; --csv FILE writes all"))
    if failed := int(found.have_failed(space, asked).sum()) if wanted else len(found.failed):
        networks = f"{failed} network{'s' if failed > 1 else ''} that failed according to {where}"
        what = "predicted all the same" if wanted else "left out"
        typer.echo(printable(f"{networks}: {what}"))
    for line in _trust(fitted, values):
        typer.echo(line)


def _learn_sources(learner: Any, here: Any) -> None:
    """Measure networks of this machine as source devices, and learn them; those of before are kept."""
    from nastk.cli.progress import bar, follow
    from nastk.predictors._local_sources import pretrain
    from nastk.report.text import printable

    typer.echo(printable(f"nastk: {here.plan()}{LEAVE_OUT}"), err=True)
    with bar(None, "measuring here") as progress:
        said = pretrain([learner], here, follow(progress))
    typer.echo(printable(f"nastk: {said}"), err=True)


def _refuse_device(device: Any, devices: Any, command: Any, kept: Any, how: Mapping[str, Any]) -> None:
    """Refuse what is about measuring beside a file of measurements."""
    from nastk.errors import InvalidValue
    from nastk.run import MEASURED

    options = {"device": device, "devices": devices, "device-command": command, "save-measured": kept}
    given = [name for name, value in options.items() if value is not None]
    given += [name for name, value in how.items() if value != MEASURED[name]]
    if given:
        raise InvalidValue(
            f"--{given[0]}: the measurements are those of a file, and none is made; leave one of them out"
        )


def _measure(oracle: Any, archs: Any, kept: Path | None) -> Measured:
    """Measure architectures; those that fail are named, and after Ctrl-C what was measured is kept in the file."""
    import numpy as np

    from nastk.cli.measure import measured_rows, say_failures
    from nastk.cli.options import Interrupted, end_by
    from nastk.data.measured import Measured
    from nastk.errors import InvalidValue, NastkError
    from nastk.report.rows import write_csv

    space = oracle.space
    if oracle.name != "latency":
        raise InvalidValue(f"device {oracle.device} measures {oracle.name}, and latency is predicted")
    rows, stopped = measured_rows(space, oracle, archs)
    if kept is not None and rows:
        write_csv(kept, rows)
    if stopped is not None:
        saved = f", saved to {kept}" if kept is not None and rows else ""
        raise Interrupted(f"{end_by(stopped)}: {len(rows)} of {len(archs)} measured{saved}", stopped)
    say_failures(oracle.reasons)
    values = np.array([row["ms"] for row in rows], dtype=np.float64)
    known = np.isfinite(values)
    if known.sum() < 2:
        reason = next(iter(oracle.reasons.values()), "no value")
        raise NastkError(f"only {known.sum()} of {len(archs)} networks could be measured; the first failure: {reason}")
    unknown = np.full(int(known.sum()), np.nan)
    return Measured(archs[known], values[known], unknown, np.ones(len(unknown), dtype=np.int64), archs[~known])


def _trust(fitted: Any, values: Any) -> list[str]:
    """Most similar source devices, the leave-one-out error of the measurements, the error to expect of the predictions,
    and what to measure next."""
    import numpy as np

    from nastk.metrics import spearman

    said = []
    devices = fitted.resembles() if hasattr(fitted, "resembles") else []
    if devices:
        said.append(_resemblance(devices, len(values)))
    if hasattr(fitted, "left_out") and len(values) > 2:
        others = fitted.left_out()
        error = float(np.median(np.abs(others / values - 1.0)))
        rank = f"Spearman {spearman(others, values):.2f}, " if len(values) >= 5 else ""
        said.append(f"each measurement predicted from the others: {rank}median error {100 * error:.1f} %")
    if hasattr(fitted, "further"):
        said += _next(fitted, len(values))
    return said


def _next(fitted: Any, measurements: int) -> list[str]:
    """The error to expect of the predictions, now and after more measurements, and the first of these."""
    from nastk.errors import InvalidValue

    now = fitted.expected_error()
    said = []
    if now != now:
        said.append(f"error to expect of the predictions: unknown from {measurements} measurements")
    try:
        more = fitted.further(MORE)
    except InvalidValue:  # so few networks are left to measure
        return said
    if now == now:
        told = f"error to expect of the predictions: {100 * now:.1f} % (median)"
        said.append(f"{told}; after {MORE} more measurements about {100 * more.expected_error:.1f} %")
    said.append(f"measure next: {fitted.task_.space.format(more.archs[0])}")
    return said


def _resemblance(devices: Sequence[tuple[str, float]], measurements: int) -> str:
    """Which devices rank the measured networks as the measurements do; a correlation is NaN where a device's latencies
    are all alike."""
    alike = [(name, correlation) for name, correlation in devices if correlation > ALIKE]
    if alike:
        names = ", ".join(f"{name} ({correlation:.2f})" for name, correlation in alike[:3])
        return f"the device resembles {names} (Spearman with the {measurements} measurements)"
    ranked = [(correlation, name) for name, correlation in devices if correlation == correlation]
    best = f" (best: {max(ranked)[1]}, {max(ranked)[0]:.2f})" if ranked else ""
    return f"the device resembles no known device{best}; more measurements help"


def _rows(space: Any, archs: Any, fitted: Any) -> list[dict[str, Any]]:
    """Predictions with 95 % intervals; where a predictor can have none, a line says why."""
    import numpy as np

    from nastk.errors import InvalidValue, Unsupported

    mean = fitted.predict(archs).mean
    low, high = np.full(len(mean), np.nan), np.full(len(mean), np.nan)
    try:
        low, high = fitted.interval(archs)
    except (InvalidValue, Unsupported) as error:
        typer.echo(f"nastk: no intervals: {error}", err=True)
    parts = zip(space.format_all(archs), mean, low, high, strict=True)
    return [
        {"arch": text, "ms": float(ms), "low": max(float(low), 0.0), "high": float(high)}
        for text, ms, low, high in parts
    ]

"""``nastk predict``: latencies of all architectures from a few of the user's measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Archs, ArchsOption, Json, Space

SHOWN = 20
"""Most rows printed; --csv writes all."""
ALIKE = 0.5
"""Least Spearman correlation with the measurements of a device that the measured one is said to resemble."""


def predict(
    archs: Archs = None,
    more_archs: ArchsOption = None,
    measured: Annotated[
        Path | None,
        typer.Option("--measured", metavar="FILE", help="Your measurements: a CSV file with columns arch, ms."),
    ] = None,
    measurements: Annotated[Path | None, typer.Option("--measurements", metavar="FILE", hidden=True)] = None,
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
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all predictions to this file.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Adapt the shipped latency predictor to your measurements; predict others, with 95 % intervals."""
    from nastk.cli.inputs import read_archs
    from nastk.errors import InvalidValue
    from nastk.files import check_outputs
    from nastk.predictors.base import Task
    from nastk.predictors.factory import predictor as named_predictor
    from nastk.predictors.factory import weights
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show
    from nastk.report.text import printable
    from nastk.search.defaults import latency_predictor, read_measured
    from nastk.spaces.factory import space as named

    if measured is None and measurements is None:
        raise InvalidValue("give your measurements: --measured FILE.csv, with the columns arch and ms")
    if measured is not None and measurements is not None:
        raise InvalidValue("--measurements FILE is the old name of --measured FILE; give one of them")
    file = measured or measurements
    assert file is not None
    space = named(space_name)
    wanted = [*(archs or []), *(more_archs or [])]
    if wanted and everything:
        raise InvalidValue("give architectures as arguments or --all, not both")
    if not wanted and not space.enumerable:
        raise InvalidValue(f"{space.whole.name} is too large to predict as a whole; name architectures as arguments")
    if pretrained and f"{predictor}-{space.name}" not in weights():
        have = ", ".join(sorted(weights()))
        raise InvalidValue(f"no weights of {predictor} for {space.name} are shipped, only {have}; remove --pretrained")
    check_outputs([csv_file, json_file])
    found = read_measured(space, file)
    known, values = found.archs, found.values
    if wanted:
        asked = read_archs(space, wanted)
    else:
        asked = space.enumerate()
        asked = asked[space.distinct(asked)]
        asked = asked[~found.have_failed(space, asked)]
    learner = named_predictor(predictor) if pretrained is False else latency_predictor(space, name=predictor)
    fitted = learner.adapt(Task(space, known, values, "latency", "ms", "min", device="this"))
    rows = _rows(space, asked, fitted.predict(asked))
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
        networks = f"{failed} network{'s' if failed > 1 else ''} that failed according to {file}"
        what = "predicted all the same" if wanted else "left out"
        typer.echo(printable(f"{networks}: {what}"))
    for line in _trust(fitted, values):
        typer.echo(line)


def _trust(fitted: Any, values: Any) -> list[str]:
    """Most similar source devices, and the leave-one-out error of the measurements."""
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


def _rows(space: Any, archs: Any, prediction: Any) -> list[dict[str, Any]]:
    half = 1.96 * prediction.std
    parts = zip(space.format_all(archs), prediction.mean, prediction.mean - half, prediction.mean + half, strict=True)
    return [
        {"arch": text, "ms": float(ms), "low": max(float(low), 0.0), "high": float(high)}
        for text, ms, low, high in parts
    ]

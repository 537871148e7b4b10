"""``nastk predict``: latencies of all architectures from a few measurements of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Archs, ArchsOption, Json, Space

SHOWN = 20


def predict(
    measurements: Annotated[
        Path, typer.Option("--measurements", metavar="CSV", help="Own measurements: a CSV file with columns arch, ms.")
    ],
    archs: Archs = None,
    more_archs: ArchsOption = None,
    space_name: Space = "nasbench201",
    everything: Annotated[bool, typer.Option("--all", help="Predict every architecture of the space.")] = False,
    predictor: Annotated[
        str, typer.Option("--predictor", metavar="P", help="What learns from the measurements.")
    ] = "few-shot-gp",
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all predictions to this file.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Adapt the shipped latency predictor to your measurements; predict others, with 95 % intervals."""
    from nastk.cli.objectives import latency_predictor, read_archs, read_measurements
    from nastk.errors import InvalidValue
    from nastk.predictors.base import Task
    from nastk.report.rows import write_csv, write_json
    from nastk.report.tables import show
    from nastk.spaces.factory import space as named

    space = named(space_name)
    wanted = [*(archs or []), *(more_archs or [])]
    if bool(wanted) == everything:
        raise InvalidValue("say what to predict: architectures as arguments, or --all, and not both")
    asked = space.enumerate() if everything else read_archs(space, wanted)
    measured, values = read_measurements(space, measurements)
    few = latency_predictor(space, name=predictor)
    fitted = few.fit(Task(space, measured, values, "latency", "ms", "min", device="this"))
    rows = _rows(space, asked, fitted.predict(asked))
    if csv_file is not None:
        write_csv(csv_file, rows)
    if json_file is not None:
        write_json(json_file, rows)
    ordered = sorted(rows, key=lambda r: r["ms"]) if everything else rows
    title = f"latency predicted by {predictor} from {len(values)} measurements (estimates; 95 % intervals)"
    show(ordered[:SHOWN], title=title, shorten=("arch",))
    if len(rows) > SHOWN:
        rest = f"{len(rows) - SHOWN:,} more" + (" (here: the fastest)" if everything else "")
        typer.echo(f"and {rest}" + (f", all in {csv_file}" if csv_file else "; --csv FILE writes all"))


def _rows(space: Any, archs: Any, prediction: Any) -> list[dict[str, Any]]:
    half = 1.96 * prediction.std
    parts = zip(space.format_all(archs), prediction.mean, prediction.mean - half, prediction.mean + half, strict=True)
    return [
        {"arch": text, "ms": float(ms), "low": max(float(low), 0.0), "high": float(high)}
        for text, ms, low, high in parts
    ]

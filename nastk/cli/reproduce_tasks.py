"""``nastk reproduce mtl`` and ``counting``: searches for networks that do more than classify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Json, Workers, count

Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder of finished runs, which are not repeated.")
]
Seeds = Annotated[int, count("--seeds", "Number of random seeds.")]
FirstSeed = Annotated[int, typer.Option("--first-seed", metavar="N", min=0, help="The first random seed.")]
Epochs = Annotated[int, count("--epochs", "Of each training.")]
Figures = Annotated[Path | None, typer.Option("--figures", metavar="DIR", help="Also draw into this folder (PNG).")]


def mtl(
    second: Annotated[
        str, typer.Option("--second", metavar="L", help="The digits' second label: parity, thickness or width.")
    ] = "width",
    subsets: Annotated[int, count("--subsets", "Subsets of the paths that are trained.", least=19)] = 50,
    seeds: Seeds = 5,
    first_seed: FirstSeed = 0,
    epochs: Epochs = 9,
    out: Out = None,
    workers: Workers = None,
    figures: Figures = None,
    json_file: Json = None,
) -> None:
    """MTL-NAS on digits with two labels: paths between two networks found in one search, against trained subsets."""
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.reproduce import mtl as comparison
    from nastk.reproduce import mtl_figures

    check_outputs([json_file], [out, figures])
    with bar(None, "training") as progress:
        settings: dict[str, Any] = {"second": second, "epochs": epochs}
        found = comparison.run(seeds, subsets, out, workers, follow(progress), first_seed, **settings)
    rows = comparison.rows_of(found)
    _show(rows, comparison.tables(rows), json_file)
    if figures is not None:
        typer.echo(f"drawn: {mtl_figures.draw(found, figures)} in {figures}")


def counting(
    trainings: Annotated[int, count("--trainings", "Trainings of each searcher.", least=2)] = 16,
    off: Annotated[
        float,
        typer.Option("--off", metavar="SHARE", help="Deviation of the digits' marks from their centres, of a side."),
    ] = 0.25,
    seeds: Seeds = 5,
    first_seed: FirstSeed = 0,
    searched: Annotated[
        int | None,
        typer.Option("--searched", metavar="N", min=0, help="Seeds whose networks are searched for; by default all."),
    ] = None,
    epochs: Epochs = 20,
    out: Out = None,
    workers: Workers = None,
    figures: Figures = None,
    json_file: Json = None,
) -> None:
    """Counting digits on canvases (NAS-Count): the pyramid loss against the squared error, searched networks."""
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.reproduce import counting as comparison

    check_outputs([json_file], [out, figures])
    settings: dict[str, Any] = {"trainings": trainings, "off": off, "epochs": epochs}
    with bar(None, "training") as progress:
        found = comparison.run(seeds, searched, out, workers, follow(progress), first_seed, **settings)
    rows = comparison.rows_of(found)
    _show(rows, comparison.tables(rows), json_file)
    if figures is not None:
        drawn = comparison.draw(found, figures, **settings)
        typer.echo(f"drawn: {drawn} in {figures}")


def _show(rows: list[dict[str, Any]], tables: list[tuple[str, list[dict[str, Any]]]], json_file: Path | None) -> None:
    """Write the rows where that is asked for, and show tables of them by their titles."""
    from nastk.report.rows import write_json
    from nastk.report.tables import show

    if json_file is not None:
        write_json(json_file, rows)
    for title, lines in tables:
        show(lines, title=title)

"""``nastk choices``: what each choice of a space costs and gains, by what a search has learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nastk.cli.options import Json, Seed

if TYPE_CHECKING:
    from nastk.search.choice_effects import ChoiceEffects

FILES = ("choices.png", "choices.csv", "choice-pairs.csv")
"""Files that are written."""

SHOWN = 12
"""Most choices on the screen; the table has all."""


def choices(
    result: Annotated[Path, typer.Argument(metavar="[RESULT]", help="Folder of a search, or its result.json.")] = Path(
        "nastk-out"
    ),
    space: Annotated[
        str | None, typer.Option("--space", metavar="S", help="Where a file.py:Class is now.", show_default=False)
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=50, max=1_000_000, help="Random architectures.")
    ] = 2000,
    refits: Annotated[
        int, typer.Option("--refits", metavar="N", min=2, max=10_000, help="Bootstrap replicates of the intervals.")
    ] = 20,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the files.  [that of the result]")
    ] = None,
    json_file: Json = None,
) -> None:
    """Show how the objectives change with each choice: main effects, the strongest pairs, and what is worth its cost.

    The predictors learn again from the evaluations of the search; nothing is trained or measured.
    """
    from nastk.cli.progress import bar, follow
    from nastk.files import check_outputs
    from nastk.finished import read_search
    from nastk.report import write_choices
    from nastk.report.rows import write_json
    from nastk.result import rows_of
    from nastk.run import records_from, reopen

    finished = read_search(result, space)
    folder = out or (result if result.is_dir() else result.parent)
    check_outputs([*(folder / name for name in FILES), json_file])
    records = records_from(finished.content.get("history") or [], finished.space, result)
    description = finished.description
    if space is not None:
        from dataclasses import replace

        description = replace(description, space=space)
    opened = reopen(description, records)
    with bar(None, "bootstrap") as progress:
        effects = opened.choice_effects(samples, refits, seed, follow(progress))
    picture, table, pairs = (folder / name for name in FILES)
    write_choices(effects, picture)
    effects.to_csv(table)
    effects.pairs_to_csv(pairs)
    if json_file is not None:
        write_json(json_file, rows_of(effects.options))
    _show(effects)
    typer.echo(f"Written to {folder}: {', '.join(FILES)}")


def _show(effects: ChoiceEffects) -> None:
    """The choices that explain most, the strongest pairs, and what the figures are."""
    from nastk.report.tables import number, show
    from nastk.report.text import printable

    title = f"{effects.space}: the choices that matter most (difference between their options)"
    show(_most(effects)[:SHOWN], title=title, shorten=("choice",))
    for of in effects.objectives:
        share = effects.explained[of.name]
        typer.echo(printable(f"{of.name}: {100 * share:.0f} % of its variance is explained by choices one by one."))
    for row in effects.pairs.head(3).to_dict("records"):
        typer.echo(
            printable(
                f"{row['objective']}: {row['choice_a']} with {row['choice_b']} explains {100 * row['share']:.1f} % "
                f"more ({row['option_a']} and {row['option_b']} together: {number(row['effect'])} {row['unit']} beside "
                "the sum of both)."
            )
        )
    for note in effects.notes:
        typer.echo(printable(note))


def _most(effects: ChoiceEffects) -> list[dict[str, Any]]:
    """One row a choice, those first that explain most of an objective."""
    rows = []
    for choice, options in effects.options.groupby("choice", sort=False):
        row: dict[str, Any] = {"choice": choice}
        for of in effects.objectives:
            effect = options.set_index("option")[f"{of.name}_effect"].dropna()
            if len(effect):
                unit = f" ({of.unit})" if of.unit else ""
                row[f"{of.name}{unit}"] = float(effect.max() - effect.min())
                row[f"share of {of.name} (%)"] = 100 * float(options[f"{of.name}_share"].iloc[0])
                row[f"least {of.name}"], row[f"most {of.name}"] = effect.idxmin(), effect.idxmax()
        rows.append(row)
    shares = [f"share of {of.name} (%)" for of in effects.objectives]
    return sorted(rows, key=lambda row: -max(row.get(share, 0.0) for share in shares))

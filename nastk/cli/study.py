"""``nastk study``: the studies in a storage, and their failed evaluations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nastk.cli.options import Json
from nastk.report.text import printable

app = typer.Typer(help="List the studies of a storage, show one, try failed evaluations again.", no_args_is_help=True)

Storage = Annotated[str, typer.Option("--storage", metavar="URL", help="The database, such as sqlite:///run.db.")]
Name = Annotated[str, typer.Option("--study", metavar="NAME", help="Name of the study.")]


@app.command("list")
def list_(storage: Storage, json_file: Json = None) -> None:
    """List the studies of a storage, with their evaluations and failures."""
    from nastk.report.tables import show
    from nastk.storage import studies

    rows = [_row(facts) for facts in studies(storage)]
    if not rows:
        typer.echo("no study yet")
        return
    show(rows, title="Studies")
    _write(rows, json_file)


@app.command("show")
def show_(storage: Storage, study: Name = "nastk", json_file: Json = None) -> None:
    """Show one study: what it is, and why evaluations failed."""
    from nastk.report.tables import show
    from nastk.storage import find_study

    facts = find_study(storage, study)
    for name, value in facts.identity.items():
        if name != "choices" and value not in ([], {}):
            typer.echo(printable(f"{name}: {value}"))
    show([_row(facts)], title=f"Study {facts.name}")
    failures = [{"objective": o, "count": n, "reason": r} for (o, r), n in facts.failures.items()]
    if failures:
        show(failures, title="Failed evaluations", shorten=("reason",))
    _write(failures, json_file)


@app.command("retry")
def retry_(storage: Storage, study: Name = "nastk") -> None:
    """Let the next run of a study try its failed evaluations again."""
    from nastk.storage import retry

    count = retry(storage, study)
    if count:
        what = f"{count} failed evaluation{'s' * (count > 1)}"
        typer.echo(printable(f"{what} will be tried again by the next run of {study}, beyond its budget."))
    else:
        typer.echo(printable(f"No evaluation of {study} failed."))


def _row(facts: Any) -> dict[str, Any]:
    goals = facts.identity.get("objectives", [])
    names = [goal["name"] if isinstance(goal, dict) else goal[0] for goal in goals]
    return {
        "study": facts.name,
        "space": facts.identity.get("space"),
        "objectives": ", ".join(names),
        "searcher": facts.identity.get("searcher"),
        "seed": facts.identity.get("seed"),
        "evaluations": ", ".join(f"{n} of {name}" for name, n in facts.evaluations.items()) or "none",
        "failed": sum(facts.failures.values()),
    }


def _write(rows: list[dict[str, Any]], json_file: Any) -> None:
    if json_file is not None:
        from nastk.report.rows import write_json

        write_json(json_file, rows)

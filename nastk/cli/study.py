"""``nastk study``: the studies in a storage, looked at while they run or later."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nastk.cli.options import Json
from nastk.errors import InvalidValue
from nastk.report.text import printable

app = typer.Typer(
    help="List the studies of a storage, show, serve or export one, try failed evaluations again, delete.",
    no_args_is_help=True,
)

Storage = Annotated[str, typer.Option("--storage", metavar="URL", help="The database, such as sqlite:///run.db.")]
PORT = 8642
"""Where pages are served by default."""
Name = Annotated[str, typer.Option("--study", metavar="NAME", help="Name of the study.")]


@app.command("list")
def list_(storage: Storage, json_file: Json = None) -> None:
    """List the studies of a storage, with their evaluations and failures."""
    from nastk.report.tables import show
    from nastk.studies import studies

    rows = [_row(facts) for facts in studies(storage)]
    if not rows:
        typer.echo("no study yet")
        return
    show(rows, title="Studies")
    _write(rows, json_file)


@app.command("show")
def show_(storage: Storage, study: Name = "nastk", json_file: Json = None) -> None:
    """Show one study: what it is, where it stands, who runs it, and why evaluations failed."""
    from nastk.report.stored import standing
    from nastk.report.tables import show
    from nastk.studies import read_study

    found = read_study(storage, study)
    facts = found.facts
    for name, value in facts.identity.items():
        if name != "choices" and value not in ([], {}):
            typer.echo(printable(f"{name}: {value}"))
    show([_row(facts)], title=f"Study {facts.name}")
    for line in standing(found):
        if not line.startswith("Failed: "):  # the table below has them
            typer.echo(printable(line))
    failures = [{"objective": o, "count": n, "reason": r} for (o, r), n in facts.failures.items()]
    if failures:
        show(failures, title="Failed evaluations", shorten=("reason",))
    _write(failures, json_file)


@app.command("retry")
def retry_(storage: Storage, study: Name = "nastk") -> None:
    """Let the next run of a study try its failed evaluations again."""
    from nastk.studies import retry

    count = retry(storage, study)
    if count:
        what = f"{count} failed evaluation{'s' * (count > 1)}"
        typer.echo(printable(f"{what} will be tried again by the next run of {study}, beyond its budget."))
    else:
        typer.echo(printable(f"No evaluation of {study} failed."))


@app.command("delete")
def delete_(
    storage: Storage,
    study: Annotated[str, typer.Option("--study", metavar="NAME", help="Name of the study.")],
    yes: Annotated[bool, typer.Option("--yes", help="Yes, with all its evaluations.")] = False,
) -> None:
    """Delete a study with its evaluations; one that a process runs is refused."""
    from nastk.studies import delete, find_study

    if not yes:
        count = sum(find_study(storage, study).evaluations.values())
        raise InvalidValue(f"this would delete study {study} with {count} evaluations for ever; if so, add --yes")
    count = delete(storage, study)
    typer.echo(printable(f"Deleted study {study} with {count} evaluation{'s' * (count != 1)}."))


@app.command("serve")
def serve_(
    storage: Storage,
    study: Annotated[str | None, typer.Option("--study", metavar="NAME", help="This study only.")] = None,
    port: Annotated[int, typer.Option("--port", metavar="P", min=0, max=65535, help="0 for any free one.")] = PORT,
) -> None:
    """Show studies in a browser of this machine, as far as they have come, until Ctrl-C. Nothing is changed."""
    from nastk.report.serve import StudyServer

    with StudyServer(storage, study, port) as server:
        typer.echo(f"{server.url} (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("ended", err=True)


@app.command("export")
def export_(
    storage: Storage,
    optuna: Annotated[str, typer.Option("--optuna", metavar="URL", help="Optuna storage, such as sqlite:///o.db.")],
    study: Name = "nastk",
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Its name there.  [the same]")] = None,
) -> None:
    """Copy a study, finished or running, to an Optuna storage, which optuna-dashboard opens; an earlier copy of it is
    replaced."""
    from nastk.report.to_optuna import export

    counts = export(storage, study, optuna, name)
    states = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"
    typer.echo(printable(f"{sum(counts.values())} trials of study {study}: {states}."))


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
        "run by": None if facts.holder is None else f"process {facts.holder.process} on {facts.holder.host}",
    }


def _write(rows: list[dict[str, Any]], json_file: Any) -> None:
    if json_file is not None:
        from nastk.report.rows import write_json

        write_json(json_file, rows)

"""``nastk data``: fetch the public tables, see what is there, verify it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Fetch the public tables, see what is there, verify it.")

Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the rows to this file.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Collections, file names, or 'all'.")]
SomeNames = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Collections or files; by default all that are there.")
]


@app.command("list")
def list_(json_file: Json = None) -> None:
    """What can be fetched: size, licences, whether it is there."""
    from nastk.data import Store

    store = Store()
    rows = []
    for collection in store.catalogue.collections.values():
        there = [store.state(f).state == "fetched" for f in collection.files]
        fetched = "yes" if all(there) else f"{sum(there)} of {len(there)} files" if any(there) else "no"
        size = round(collection.bytes / 1e6, 1)
        rows.append(
            {
                "name": collection.name,
                "MB": size,
                "fetched": fetched,
                "licences": ", ".join(collection.licences),
                "holds": collection.description,
            }
        )
    _show(rows, json_file)


@app.command()
def fetch(names: Names) -> None:
    """Fetch by name from the pinned addresses (or NASTK_MIRROR), verify the checksums, and compile the tables."""
    from nastk.data import Store, tables

    store = Store()
    files = store.fetch(names)
    wanted = store.catalogue.select(names)
    megabytes = sum(f.bytes for f in files) / 1e6
    there = f"{len(wanted) - len(files)} were there already" if len(files) < len(wanted) else "none was there before"
    typer.echo(f"fetched {len(files)} of {len(wanted)} files ({megabytes:.1f} MB; {there}) into {store.home / 'raw'}")
    for collection in store.catalogue.collections.values():
        for table in collection.tables:
            if set(collection.files) <= set(wanted) and not tables.is_current(table, store):
                made = tables.compile_table(table, store)
                typer.echo(f"compiled the table {table}: {len(made.archs)} architectures, {len(made.columns)} columns")


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Whose files: eagle.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or folders that hold them.")],
) -> None:
    """Add devices from files that cannot be fetched by name: EAGLE's latencies of NAS-Bench-201, one file a device."""
    from nastk.data import Store, eagle
    from nastk.errors import UnknownName

    if source != "eagle":
        raise UnknownName("source", source, ["eagle"])
    store = Store()
    for device, known in eagle.import_files(paths, store):
        typer.echo(f"imported {device}: latency of {known} architectures, a device of the table nasbench201 now")


@app.command()
def status(json_file: Json = None) -> None:
    """Where the cache is, which files and tables are there, and how large they are."""
    from nastk.data import Store, imported, tables

    store = Store()
    typer.echo(f"cache   {store.home}\nmirror  {store.mirror or 'none (NASTK_MIRROR is not set)'}\n")
    rows: list[dict[str, Any]] = []
    for collection in store.catalogue.collections.values():
        states = [store.state(f) for f in collection.files]
        held = [s for s in states if s.state == "fetched"]
        built = [_table_state(t, store, tables) for t in collection.tables]
        rows.append(
            {
                "name": collection.name,
                "files": f"{len(held)} of {len(states)}",
                "MB": round(sum(s.file.bytes for s in held) / 1e6, 1),
                "damaged": sum(s.state == "damaged" for s in states),
                "table": ", ".join(built) or "none to compile",
            }
        )
    _show(rows, json_file)
    brought = [path.stem for path in imported.saved("nasbench201", store)]
    if brought:
        typer.echo(f"\nimported into nasbench201: {', '.join(brought)}")


def _table_state(name: str, store: Any, tables: Any) -> str:
    path = tables.table_path(name, store)
    if not path.exists():
        return "not compiled"
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return f"compiled, {size}" if tables.is_current(name, store) else f"out of date, {size}"


@app.command()
def verify(names: SomeNames = None) -> None:
    """Recompute the checksums of what was fetched; exit status 2 with a line for each bad file."""
    from nastk.data import Store

    store = Store()
    states = store.verify(names or [])
    bad = [s for s in states if s.state != "fetched"]
    for state in bad:
        cure = f"run: nastk data fetch {store.catalogue.collection_of(state.file)}"
        what = "is missing" if state.state == "missing" else "is damaged (SHA-256 differs from the catalogue)"
        typer.echo(f"{state.path} {what}; {cure}", err=True)
    typer.echo(f"{len(states) - len(bad)} of {len(states)} files are as the catalogue says, in {store.home / 'raw'}")
    if bad:
        raise typer.Exit(2)


def _show(rows: Sequence[dict[str, Any]], json_file: Path | None) -> None:
    """Print rows as aligned columns (the last may be long) and write them if asked to."""
    from nastk.files import write_text

    heading = list(rows[0])
    cells = [heading, *([str(row[h]) for h in heading] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heading))]
    for line in cells:
        typer.echo("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())
    if json_file is not None:
        write_text(json_file, json.dumps(list(rows), indent=1) + "\n")

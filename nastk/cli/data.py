"""``nastk data``: fetch the public tables, import others, show and verify their state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.report.text import printable

app = typer.Typer(no_args_is_help=True, help="Fetch the public tables, import your own, show their state.")

Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the rows to this file.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Collections, file names, or 'all'.")]
SomeNames = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Collections or files; by default all fetched ones.")
]


@app.command("list")
def list_(json_file: Json = None) -> None:
    """List what can be fetched: size, licences, whether it is fetched."""
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
    from nastk.errors import MissingExtra

    store = Store()
    wanted = store.catalogue.select(names)
    collections = [c for c in store.catalogue.collections.values() if set(c.files) <= set(wanted)]
    if "all" not in names:  # whoever names a table wants to read it
        for table in (table for collection in collections for table in collection.tables):
            tables.check_reader(table)
    files = store.fetch(names)
    megabytes = sum(f.bytes for f in files) / 1e6
    there = f"{len(wanted) - len(files)} were there already" if len(files) < len(wanted) else "none was there before"
    typer.echo(f"fetched {len(files)} of {len(wanted)} files ({megabytes:.1f} MB; {there}) into {store.home / 'raw'}")
    for collection in collections:
        for table in (table for table in collection.tables if not tables.is_current(table, store)):
            try:
                made = tables.compile_table(table, store)
            except MissingExtra as error:
                typer.echo(f"warning: the table {table} is not compiled: {error}", err=True)
                continue
            typer.echo(f"compiled the table {table}: {len(made.archs)} architectures, {len(made.columns)} columns")
        if collection.joins:
            typer.echo(_joins(collection.joins, tables.is_there(collection.joins, store)))


def _joins(table: str, there: bool) -> str:
    missing = "" if there else f", which is not fetched; run: nastk data fetch {table}"
    return f"its columns join the table {table}{missing}"


@app.command("import")
def import_(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="[FORM] PATH...", help="Form of the files (nastk data forms), and files or folders."),
    ],
    space: Annotated[
        str | None, typer.Option(metavar="S", help="Space of their architectures, or file.py:Class.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:METRIC[:UNIT[:min|max]]]", help="CSV, Parquet: a column to import; repeatable."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="D", help="CSV, Parquet: data set of the columns.")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEV", help="CSV, Parquet: device of latencies and energies.")
    ] = None,
    fidelity: Annotated[
        float | None, typer.Option(metavar="N", min=0, help="CSV, Parquet: training epochs of accuracies.")
    ] = None,
    arch: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="CSV, Parquet: the column of architectures.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="LABEL", help="Its name; by default that of its file.")] = None,
) -> None:
    """Add columns to a space's table: official files that cannot be fetched by name, or a table of your own."""
    from nastk.data import imported

    form, files = _form(paths)
    options: dict[str, Any] = {"space": space, "columns": column, "dataset": dataset, "device": device}
    for found in imported.bring(form, files, name, fidelity=fidelity, arch=arch, **options):
        what = _ranges(found)
        told = f"imported {found.label}: {what} of {found.rows} architectures, in the table {found.space} now"
        typer.echo(printable(told))


def _ranges(found: Any) -> str:
    """The metrics of an import, each with its least and greatest value: a wrong unit shows there."""
    ranges: dict[tuple[str, str], list[float]] = {}
    for column, ends in zip(found.columns, found.ranges, strict=True):
        known = [end for end in ends if end == end]  # NaN where a column of a form holds no value
        ranges.setdefault((column.metric, column.unit), []).extend(known)
    parts = []
    for (metric, unit), ends in ranges.items():
        ends = list(dict.fromkeys(_number(end) for end in (min(ends), max(ends)))) if ends else []
        parts.append(" ".join(part for part in (metric, " to ".join(ends), unit) if part))
    more = f" and {len(parts) - 4} more metrics" if len(parts) > 5 else ""
    return ", ".join(parts[: 4 if more else 5]) + more


def _number(value: float) -> str:
    """A value with four digits that count, without an exponent where people can read it."""
    import numpy as np

    if value and not 1e-9 <= abs(value) < 1e15:
        return f"{value:.4g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=4, fractional=False, trim="-")


def _form(words: list[str]) -> tuple[str, list[Path]]:
    """The form and the files that the words name; the form of a user's own table follows from its suffix."""
    from nastk.data import official
    from nastk.errors import InvalidValue, UnknownName

    own = {".csv": "csv", ".parquet": "parquet"}
    first = Path(words[0])
    if first.suffix in own:
        return own[first.suffix], [Path(word) for word in words]
    if words[0].replace("_", "-") not in official.forms():
        if first.exists():
            raise InvalidValue(f"say of which form {first} is: nastk data import FORM {first} (nastk data forms)")
        raise UnknownName("form of file", words[0], official.forms())
    if len(words) == 1:
        raise InvalidValue(f"name the files to import: nastk data import {words[0]} PATH...")
    return words[0], [Path(word) for word in words[1:]]


@app.command()
def forms(json_file: Json = None) -> None:
    """Forms of files that can be imported."""
    from nastk.data import official

    _show([{"form": e.name, "holds": e.description} for e in official.forms().values()], json_file)


@app.command()
def forget(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Imports, as nastk data status names them.")],
    space: Annotated[
        str | None, typer.Option(metavar="S", help="Only in this space, or table of nastk data status.")
    ] = None,
) -> None:
    """Remove imports; fetched tables are unchanged."""
    from nastk.data import imported

    for where, label in imported.forget(names, space):
        typer.echo(printable(f"removed {label} from the table {where}"))


@app.command()
def status(json_file: Json = None) -> None:
    """Show the cache's location, its files and tables, and their sizes."""
    from nastk.data import Store, imported, tables
    from nastk.errors import DataError

    store = Store()
    typer.echo(f"cache   {store.home}\nmirror  {store.mirror or 'none (NASTK_MIRROR is not set)'}\n")
    rows: list[dict[str, Any]] = []
    for collection in store.catalogue.collections.values():
        states = [store.state(f) for f in collection.files]
        held = [s for s in states if s.state == "fetched"]
        several = len(collection.tables) > 1
        built = [(f"{t}: " if several else "") + _table_state(t, store, tables) for t in collection.tables]
        rows.append(
            {
                "name": collection.name,
                "files": f"{len(held)} of {len(states)}",
                "MB": round(sum(s.file.bytes for s in held) / 1e6, 1),
                "damaged": sum(s.state == "damaged" for s in states),
                "table": "; ".join(built) or "none to compile",
            }
        )
    _show(rows, json_file)
    names = imported.shown_names(store)
    for place, path in enumerate(imported.saved(store=store)):
        try:
            found = imported.describe(path)
            columns = f"{len(found.columns)} column{'s' if len(found.columns) > 1 else ''}"
            what = f"{columns} of {found.rows} architectures"
        except DataError as error:
            what = str(error)
        if not place:
            typer.echo()
        typer.echo(printable(f"imported into {names[path.parent.name]}: {path.stem}, {what}"))


def _table_state(name: str, store: Any, tables: Any) -> str:
    path = tables.table_path(name, store)
    if not path.exists():
        return "not compiled"
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return f"compiled, {size}" if tables.is_current(name, store) else f"out of date, {size}"


@app.command()
def verify(names: SomeNames = None) -> None:
    """Recompute the checksums of fetched files; exit status 2 and one line for each bad file."""
    from nastk.data import Store

    store = Store()
    states = store.verify(names or [])
    bad = [s for s in states if s.state != "fetched"]
    for state in bad:
        cure = f"run: nastk data fetch {store.catalogue.collection_of(state.file)}"
        what = "is missing" if state.state == "missing" else "is damaged (SHA-256 differs from the catalogue)"
        typer.echo(f"{state.path} {what}; {cure}", err=True)
    typer.echo(f"{len(states) - len(bad)} of {len(states)} files match the catalogue, in {store.home / 'raw'}")
    if bad:
        raise typer.Exit(2)


def _show(rows: Sequence[dict[str, Any]], json_file: Path | None) -> None:
    """Print rows as aligned columns (the last may be long) and optionally write them."""
    from nastk.files import write_text

    heading = list(rows[0])
    cells = [heading, *([printable(str(row[h])) for h in heading] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heading))]
    for line in cells:
        typer.echo("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())
    if json_file is not None:
        write_text(json_file, json.dumps(list(rows), indent=1) + "\n")

"""``nastk list``: all registered entries by name, without importing them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nastk.cli.options import Json
from nastk.errors import DataError, UnknownName
from nastk.registry import REGISTRIES

KINDS = (*REGISTRIES, "weights")
"""Kinds of entries that can be listed."""


def list_(
    kind: Annotated[
        str | None, typer.Argument(metavar=f"[{'|'.join(KINDS)}]", help="One kind only; by default all.")
    ] = None,
    json_file: Json = None,
) -> None:
    """List spaces, encodings, predictors, searchers and shipped weights, with one line each."""
    from nastk.report.tables import show

    if kind is not None and kind not in KINDS:
        raise UnknownName("kind of thing", kind, KINDS)
    tidy: list[dict[str, Any]] = []
    for name in KINDS if kind is None else (kind,):
        rows = shipped_weights() if name == "weights" else _entries(name)
        tidy += [{"kind": name, **row} for row in rows]
        if rows:
            rows = [{k: v for k, v in row.items() if k != "judged on"} for row in rows]
            show(rows, title=name, shorten=() if kind else ("description",))
        else:
            typer.echo(f"{name}: none")
    if json_file is not None:
        from nastk.report.rows import write_json

        write_json(json_file, tidy)


def _entries(kind: str) -> list[dict[str, Any]]:
    entries = REGISTRIES[kind].entries.values()
    return [{"name": e.name, "description": e.description.removeprefix(f"{e.name}: ")} for e in entries]


def shipped_weights() -> list[dict[str, Any]]:
    """Notes of each shipped weight file: what it predicts, and its held-out quality."""
    rows = []
    for path in sorted((Path(__file__).parents[1] / "weights").glob("*.json")):
        try:
            notes = json.loads(path.read_text(encoding="utf-8"))["notes"]
            held_out = dict(notes["held_out"])
            row = {"name": path.stem, "predicts": str(notes["what"]), "spearman": float(held_out["spearman"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}); reinstall nastk") from error
        rows.append(row | {"median error": _error(held_out), "judged on": str(held_out.get("how", ""))})
    return rows


def _error(held_out: dict[str, Any]) -> str:
    """The median error: in the metric's unit, or relative and over devices."""
    if "median_absolute_error" in held_out:
        return f"{held_out['median_absolute_error']:.2f} %"
    errors = sorted(d["median_relative_error"] for d in held_out.get("devices", {}).values())
    return f"{100 * errors[len(errors) // 2]:.1f} % of the value" if errors else ""

"""The model card of an exported network: what it is, what it is worth and how that is known, as JSON and Markdown."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nastk import __version__
from nastk.data.catalogue import Catalogue
from nastk.deploy._format import Network
from nastk.finished import FinishedObjective, FinishedSearch
from nastk.report.rows import without_nan

NORMAL = 1.96
"""Standard deviations to each side of a value in its 95 % interval."""

Card = dict[str, Any]


def make_card(
    network: Network,
    text: str,
    finished: FinishedSearch | None,
    weights: Mapping[str, Any],
    files: list[Card],
    checked_on: str,
    command: str | None,
) -> Card:
    """The card, JSON-able.

    Args:
        text: text form of the architecture.
        finished: the search that it is of; None of a space alone.
        weights: where they come from.
        files: name, format, precision, size and agreement of each.
        checked_on: inputs, in words.
        command: that exported, where it was one.
    """
    import torch

    parameters = sum(p.numel() for p in network.module.parameters())
    found: Card = {
        "space": network.space.name,
        "arch": text,
        "choices": dict(network.choices),
        "objectives": [] if finished is None else objectives_of(finished, text),
        "weights": {"parameters": parameters, **weights},
        "input": {"shape": list(network.inputs.shape), "type": str(network.inputs.dtype).removeprefix("torch.")},
        "build": dict(network.build),
        "files": files,
        "checked_on": checked_on,
        "data": [] if finished is None else _data(finished),
        "search": None if finished is None else _search(finished),
        "export": {
            "command": command,
            "versions": {
                "nastk": __version__, "torch": torch.__version__.split("+")[0], "python": platform.python_version()
            },
        },
    }  # fmt: skip
    cleaned: Card = without_nan(found)
    return cleaned


def objectives_of(finished: FinishedSearch, text: str) -> list[Card]:
    """What is known of an architecture's objectives: its row of the front, else its evaluations."""
    front = finished.front
    rows = front[front["arch"] == text] if len(front) else front
    row = dict(rows.iloc[0]) if len(rows) else {}
    return [_objective(o, row, finished, text) for o in finished.objectives]


def _objective(objective: FinishedObjective, row: Mapping[str, Any], finished: FinishedSearch, text: str) -> Card:
    name = objective.name
    entry = next((e for e in finished.description.objectives if e.get("name") == name), {})
    how = {k: v for k, v in dict(entry.get("oracle", {})).items() if v not in (None, "", [], {})}
    more = {str(k).removeprefix(f"{name}_"): _plain(v) for k, v in row.items() if str(k).startswith(f"{name}_")}
    source = more.pop("source", None)
    value, std, kind = _number(row.get(name)), _number(more.pop("std", None)), more.pop("kind", source)
    ends = [_number(more.pop(end, None)) for end in ("low", "high")]
    if not row:
        found = _evaluated(finished, text, name)
        value, std, kind = _number(found.get("value")), _number(found.get("std")), found.get("kind")
    again = _measured_again(finished, text, name)
    if None in ends:
        ends = [_number(again.get(end)) for end in ("low", "high")]
    if None in ends:
        ends = [] if value is None or not std else [value - NORMAL * std, value + NORMAL * std]
    return {
        "name": name, "value": value, "unit": objective.unit, "direction": objective.direction,
        "kind": kind if isinstance(kind, str) else None, "interval": ends or None,
        "source": objective.source, "how": how,
        **{key: value for key, value in more.items() if value is not None and key != "unit"},
        **({"measurement": again} if again else {}),
    }  # fmt: skip


def _measured_again(finished: FinishedSearch, text: str, name: str) -> Card:
    """What the measurement at the end of the search says of an architecture, and under what it was made."""
    found = finished.content.get("measurement")
    if not isinstance(found, Mapping):
        return {}
    rows = found.get("front")
    listed = rows if isinstance(rows, list) else []
    row = next((r for r in listed if isinstance(r, Mapping) and r.get("arch") == text), {})
    conditions = found.get("objectives")
    under = conditions.get(name) if isinstance(conditions, Mapping) else None
    values = row.get(name)
    return {**values, **({"conditions": under} if under else {})} if isinstance(values, Mapping) else {}


def _evaluated(finished: FinishedSearch, text: str, name: str) -> Mapping[str, Any]:
    """The record of an architecture outside of the front; of several the last, which verified it."""
    records = finished.content.get("history")
    own = [
        r
        for r in (records if isinstance(records, list) else [])
        if isinstance(r, Mapping) and (r.get("arch"), r.get("objective"), r.get("status")) == (text, name, "ok")
    ]
    return own[-1] if own else {}


def _data(finished: FinishedSearch) -> list[Card]:
    """Data that the objectives are of, each once, with their licences where those are known."""
    found: list[Card] = []
    for entry in finished.description.objectives:
        oracle = entry["oracle"]
        named = {key: oracle[key] for key in ("data", "dataset", "table", "function", "command") if oracle.get(key)}
        if not named or any(f["of"] == named for f in found):
            continue
        licences = _licences(str(oracle["table"])) if oracle.get("table") else []
        if isinstance(oracle.get("licence"), str):
            licences.append(oracle["licence"])
        found.append({"of": named, "licences": licences})
    return found


def _licences(table: str) -> list[str]:
    from importlib import resources

    content = resources.files("nastk.data").joinpath("catalogue.toml").read_text(encoding="utf-8")
    collections = Catalogue.parse(content).collections.values()
    return sorted({licence for c in collections if table in c.tables for licence in c.licences})


def _search(finished: FinishedSearch) -> Card:
    content = finished.content
    return {
        "result": None if finished.path is None else str(finished.path),
        "command": content.get("command"),
        "versions": content.get("versions"),
        "description": finished.description.to_dict(),
    }


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _plain(value: Any) -> Any:
    """A value of a table's column for JSON."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- Markdown


def as_markdown(card: Card) -> str:
    """The card for people."""
    weights = card["weights"]
    parts = [
        f"# {card['space']} {card['arch']}",
        f"Written by nastk {card['export']['versions']['nastk']}. {weights['origin']}. "
        f"{weights['parameters']:,d} parameters.",
        "## Choices\n\n" + _table(("choice", "option"), card["choices"].items()),
    ]
    if card["objectives"]:
        rows = [
            (o["name"], _value(o), _interval(o), o["kind"] or "not known", o["source"] + _spread(o))
            for o in card["objectives"]
        ]
        parts.append("## Objectives\n\n" + _table(("objective", "value", "95 % interval", "kind", "source"), rows))
    shape = ", ".join(map(str, card["input"]["shape"]))
    files = [
        (f["file"], f["format"], f["precision"], f["run_by"], f"{f['bytes']:,d}", _agreement(f)) for f in card["files"]
    ]
    parts.append(
        f"## Files\n\nInput: {card['input']['type']} ({shape}). Outputs were compared with those of PyTorch in eager "
        f"mode and float32, on {card['checked_on']}.\n\n"
        + _table(("file", "format", "precision", "run by", "bytes", "agreement with eager PyTorch"), files)
    )
    notes = [note for f in card["files"] for note in f["notes"]]
    if notes:
        parts.append("\n".join(f"- {note}" for note in dict.fromkeys(notes)))
    if card["data"]:
        data = [
            (", ".join(f"{k} {v}" for k, v in d["of"].items()), ", ".join(d["licences"]) or "not known")
            for d in card["data"]
        ]
        parts.append("## Data\n\n" + _table(("data", "licence"), data))
    made = []
    if card["search"] is not None:
        command = card["search"]["command"]
        made += [f"- search: {_code(command) if command else 'no command (Python)'}{_versions(card['search'])}"]
    command = card["export"]["command"]
    made += [f"- export: {_code(command) if command else 'no command (Python)'}{_versions(card['export'])}"]
    parts.append("## How it was made\n\n" + "\n".join(made))
    return "\n\n".join(parts) + "\n"


def _table(heads: tuple[str, ...], rows: Any) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _code(text: str) -> str:
    return "`" + " ".join(str(text).split()).replace("`", "'") + "`"


def _value(objective: Card) -> str:
    value = objective["value"]
    return "not known" if value is None else f"{value:.6g} {objective['unit']}".strip()


def _spread(objective: Card) -> str:
    """What the measurement at the end told beside the value."""
    told = objective.get("measurement", {})
    found = [f"{key} {told[key]:.4g}" for key in ("p50", "p90") if isinstance(told.get(key), (int, float))]
    trusted = told.get("conditions", {}).get("trusted") if isinstance(told.get("conditions"), Mapping) else None
    found += [] if trusted is None else ["trusted" if trusted else "not to be trusted: the machine was not quiet"]
    return f" ({', '.join(found)})" if found else ""


def _interval(objective: Card) -> str:
    ends = objective["interval"]
    return "" if ends is None else f"{ends[0]:.6g} to {ends[1]:.6g}"


def _agreement(file: Card) -> str:
    agreed = file["agreement"]
    if agreed["difference"] == 0:
        return f"equal in {agreed['examples']} examples"
    return (
        f"greatest difference {agreed['difference']:.1e}, least cosine {agreed['cosine']:.4f}, same first class in "
        f"{agreed['first_class']:.0%} of {agreed['examples']}"
    )


def _versions(made: Card) -> str:
    found = made["versions"]
    return f" ({', '.join(f'{k} {v}' for k, v in found.items())})" if isinstance(found, Mapping) else ""


def earlier_files(path: Path, card: Card) -> list[Card]:
    """Files of an earlier card of the same network with the same weights, which are still there and not new."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same = (found["arch"], found["space"], found["weights"]["sha256"], found["input"]) == (
            card["arch"], card["space"], card["weights"]["sha256"], card["input"],
        )  # fmt: skip
        new = {f["file"] for f in card["files"]}
        return [f for f in found["files"] if same and f["file"] not in new and (path.parent / f["file"]).is_file()]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []

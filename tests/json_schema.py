"""The part of JSON Schema that the shipped schema uses, so that its tests need no further package."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool,
    "null": type(None),
}  # fmt: skip
KNOWN = {
    "$ref", "type", "const", "enum", "anyOf", "properties", "required", "patternProperties", "additionalProperties",
    "items", "minItems", "minimum",
}  # fmt: skip
WORDS = {"$schema", "$defs", "title", "description"}


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "$") -> list[str]:
    """What of a value does not keep a schema, each with its place."""
    root = schema if root is None else root
    if unknown := schema.keys() - KNOWN - WORDS:
        raise AssertionError(f"{at}: the schema has {', '.join(unknown)}, which this does not check")
    if "$ref" in schema:
        return problems(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    if "anyOf" in schema:
        tried = [problems(value, one, root, at) for one in schema["anyOf"]]
        return [] if any(not found for found in tried) else [f for found in tried for f in found]
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", list(TYPES))
    if not any(_is(value, kind) for kind in kinds):
        return [f"{at}: {value!r} is no {' or '.join(kinds)}"]
    if isinstance(value, dict):
        return _of_object(value, schema, root, at)
    if isinstance(value, list):
        few = [f"{at}: {len(value)} items"] if len(value) < schema.get("minItems", 0) else []
        of = schema.get("items", {})
        return few + [p for i, item in enumerate(value) for p in problems(item, of, root, f"{at}[{i}]")]
    small = isinstance(value, (int, float)) and value < schema.get("minimum", value)
    return [f"{at}: {value} is too small"] if small else []


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _of_object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    found = [f"{at} lacks {name}" for name in schema.get("required", []) if name not in value]
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, item in value.items():
        fitting = [of for pattern, of in patterns.items() if re.search(pattern, key)]
        of = [named[key]] if key in named else fitting or [schema.get("additionalProperties", {})]
        found += [p for one in of for p in problems(item, one, root, f"{at}.{key}")]
    return found

"""What a recipe may say: its JSON Schema, and the same as a page for people, with every plug-in's parameters.

Bounds come from the types, texts from the ``Attributes`` of the classes' docstrings: both stand once, in the code.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from annotated_types import Interval
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from lesionforge.engine import plugins
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.validation import Node, interval, options
from lesionforge.generators.parameters import bounds_text

Row = tuple[str, str, str, str, str]  # field, type, default, bounds, text


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe, with each installed source's options and generator's params under ``$defs``."""
    out = _of(Recipe)
    for kind in plugins.MODELS:
        for name in plugins.names(kind):
            out.setdefault("$defs", {})[f"{kind}.{name}"] = _of(plugins.model(kind, name))
    return out


def markdown() -> str:
    """The recipe reference page: every field, option and parameter with type, default, bounds and text."""
    out = ["# Recipe reference", "Written by `lesionforge schema --markdown`, from the code.", "## The recipe"]
    out += [_table(_of(Recipe))]
    places: dict[plugins.Kind, str] = {"sources": "sources.N.options", "generators": "generator.params"}
    for kind, place in places.items():
        out.append(f"## {kind.capitalize()}: `{place}`")
        for name in plugins.names(kind):
            out += _plugin(kind, name)
    return "\n\n".join(out) + "\n"


def _plugin(kind: plugins.Kind, name: str) -> Iterator[str]:
    found = plugins.load(kind, name)
    yield f"### {name}"
    yield _cell(_summary(found))
    for word in ("classes", "measures"):
        if names := getattr(found, word, None):
            yield f"{word.capitalize()}: {', '.join(f'`{text}`' for text in names)}."
    yield _table(_of(plugins.model(kind, name)))


class _Documented(GenerateJsonSchema):
    """JSON Schema in which a field without a description has that of its class's docstring."""

    def dataclass_schema(self, schema: Any) -> Any:
        return _documented(super().dataclass_schema(schema), schema["cls"])

    def model_schema(self, schema: Any) -> Any:
        return _documented(super().model_schema(schema), schema["cls"])


def _of(model: Any) -> dict[str, Any]:
    return TypeAdapter(model).json_schema(schema_generator=_Documented)


def _documented(node: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        texts |= _attributes(base)
    for name, inner in node.get("properties", {}).items():
        if name in texts:
            inner.setdefault("description", texts[name])
    return node | {"description": _summary(kind)}


def _summary(kind: type[Any]) -> str:
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def _attributes(kind: type[Any]) -> dict[str, str]:
    """Texts by name from the section ``Attributes`` of a class's own docstring."""
    _, _, section = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("\nAttributes:\n")
    body = re.split(r"\n(?=\S)", section)[0]
    out: dict[str, str] = {}
    for names, text in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8,}.*)*)", body, re.MULTILINE):
        out |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return out


# The page


def _table(full: Node) -> str:
    rows = list(_rows(full, full, ""))
    if not rows:
        return "No parameters."
    head = "| field | type | default | bounds | |\n|---|---|---|---|---|"
    return "\n".join([head, *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)])


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def _rows(node: Node, full: Node, prefix: str) -> Iterator[Row]:
    """One row per field; fields of nested models follow under their dotted path."""
    required = node.get("required", ())
    for name, inner in node.get("properties", {}).items():
        branches = list(options(inner, full))
        default = "required" if name in required else f"`{json.dumps(inner['default'])}`" if "default" in inner else ""
        nested = [(f"{name}.", b) for b in branches]
        for step, key in (("N", "items"), ("NAME", "additionalProperties")):
            nested += [(f"{name}.{step}.", o) for b in branches if b.get(key) for o in _branches(b[key], full)]
        nested = [(path, fields) for path, fields in nested if fields.get("properties")]
        if nested:
            default = "required" if name in required else ""
        yield f"`{prefix}{name}`", _union(inner, full), default, _bounds(branches, full), inner.get("description", "")
        for path, fields in nested:
            yield from _rows(fields, full, prefix + path)


def _type(node: Node, full: Node) -> str:
    if "enum" in node or "const" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    kind = node.get("type", "any")
    if kind == "array" and "prefixItems" in node:
        inner = [_union(item, full) for item in node["prefixItems"]]
        return f"[{', '.join(inner)}]"
    if kind == "array":
        return f"list of {_union(node['items'], full)}" if node.get("items") else "list"
    extra = node.get("additionalProperties")
    if kind == "object":
        return f"mapping to {_union(extra, full)}" if isinstance(extra, dict) and extra else "mapping"
    return str(kind)


def _union(node: Node, full: Node) -> str:
    return " or ".join(_type(branch, full) for branch in options(node, full))


def _branches(node: Any, full: Node) -> list[Node]:
    return list(options(node, full)) if isinstance(node, dict) else []


def _bounds(nodes: list[Node], full: Node) -> str:
    """Those of the numbers in it, at any depth but that of named fields."""
    for node in nodes:
        if (bounds := interval(node)) != Interval():
            return bounds_text(bounds)
        extra = node.get("additionalProperties")
        inner = [*node.get("prefixItems", ()), *(i for i in (node.get("items"), extra) if isinstance(i, dict))]
        if found := _bounds([branch for item in inner for branch in options(item, full)], full):
            return found
    return ""

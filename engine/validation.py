"""Holding values against a model, be it a plain dataclass or pydantic's, with faults that a person can act on.

Unknown keys are refused at any depth, whatever the model itself would do with them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from annotated_types import Interval
from pydantic import TypeAdapter, ValidationError

from lesionforge.generators.parameters import bounds_text
from lesionforge.sinks.text import one_line as flat

MAX_FAULTS = 20  # that are told, of one value
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's own words for it
BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
LIMITS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}  # JSON Schema's

Loc = tuple[Any, ...]
Node = Mapping[str, Any]  # of a JSON Schema


@dataclass(frozen=True)
class Fault:
    """What is wrong with one value, and where it stands: keys and indices from the top."""

    loc: Loc
    message: str

    def __str__(self) -> str:
        field = ".".join(_text(part) for part in self.loc if part != "[key]")
        return one_line(f"{field or 'recipe'}: {self.message}")


class Invalid(ValueError):
    """A value that its model does not take. ``faults``: the first ``MAX_FAULTS``; ``more``: how many follow."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults, self.more = list(faults[:MAX_FAULTS]), max(0, len(faults) - MAX_FAULTS)
        super().__init__("; ".join(map(str, self.faults)))


def validate(model: Any, value: Any, at: Loc = ()) -> Any:
    """``value`` as an instance of ``model``.

    Args:
        model: dataclass, pydantic model or any type that pydantic knows.
        value: as it stands in a recipe.
        at: where that is.

    Raises:
        Invalid: with every fault.
    """
    adapter, full = _checks(model)
    faults = [Fault((*at, *loc), message) for loc, message in _unknown(value, full, full, ())]
    out: Any = None
    try:
        out = adapter.validate_python(value)
    except ValidationError as error:
        known = {fault.loc for fault in faults}
        faults += [f for f in _explained(error, value, full, at) if f.loc not in known]
    if faults:
        raise Invalid(faults)
    return out


def plain(model: Any, value: Any) -> Any:
    """An instance of ``model`` as JSON has it, every default said."""
    return _checks(model)[0].dump_python(value, mode="json")


@cache
def _checks(model: Any) -> tuple[TypeAdapter[Any], Node]:
    """A model's validator and its JSON Schema, asked for when a recipe is read and again when it is opened."""
    adapter = TypeAdapter(model)
    return adapter, adapter.json_schema()


def nearest(name: str, valid: Sequence[str]) -> str:
    """``; did you mean X?`` or the list of valid names."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; valid are {', '.join(valid)}" if valid else "; it has none"


def interval(node: Node) -> Interval:
    """The bounds of a number in a JSON Schema."""
    return Interval(**{name: node[key] for name, key in LIMITS.items() if key in node})


def options(node: Node, full: Node) -> Iterator[Node]:
    """What a value may be by a schema's node: the node itself, or what its references and unions lead to."""
    if "$ref" in node:
        yield from options(full["$defs"][node["$ref"].rsplit("/", 1)[-1]], full)
    elif branches := [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]:
        for branch in branches:
            yield from options(branch, full)
    else:
        yield node


def _unknown(value: Any, node: Node, full: Node, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Keys that no object of the schema has."""
    if not node:  # anything goes from here on, however deep
        return
    if isinstance(value, Mapping):
        objects = [option for option in options(node, full) if option.get("type") == "object"]
        if not objects or any(_open(option) for option in objects):
            inner = [extra for o in objects if isinstance(extra := o.get("additionalProperties"), Mapping)]
        else:
            inner = []
            valid = [name for option in objects for name in option["properties"]]
            for key in value:
                if key not in valid:
                    yield (*loc, key), "unknown key" + nearest(_text(key), valid)
        for key, item in value.items():
            nodes = [o["properties"][key] for o in objects if key in o.get("properties", {})] or inner
            yield from _unknown(item, {"anyOf": nodes} if nodes else {}, full, (*loc, key))
    elif isinstance(value, (list, tuple)):
        for n, item in enumerate(value):
            yield from _unknown(item, _item(node, full, n), full, (*loc, n))


def _open(node: Node) -> bool:
    """An object that takes any key: a mapping, or a model that says so itself (``extra="allow"``)."""
    return "properties" not in node or bool(node.get("additionalProperties"))


def _item(node: Node, full: Node, n: int) -> Node:
    """The schema of an array's n-th item."""
    nodes = []
    for option in options(node, full):
        prefix = option.get("prefixItems", ())
        rest = option.get("items")
        nodes += [prefix[n]] if n < len(prefix) else [rest] if isinstance(rest, Mapping) else []
    return {"anyOf": nodes} if nodes else {}


def _explained(error: ValidationError, value: Any, full: Node, at: Loc) -> Iterator[Fault]:
    """One fault a value: where it may be one of several things, they are said together."""
    found = error.errors(include_url=False)
    first = [(*_find(fault["loc"], value, full, fault["type"] in UNKNOWN), fault) for fault in found[:MAX_FAULTS]]
    told: dict[Loc, tuple[list[str], str]] = {}
    for loc, node, fault in first:
        if any(len(other) > len(loc) and other[: len(loc)] == loc for other, _, _ in first):
            continue  # what follows from a fault deeper inside is noise
        message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        got = ""
        if fault["type"] in UNKNOWN:
            message = "unknown key"
        elif fault["type"] in ("missing", "missing_argument"):
            message = "is required"
        elif fault["type"] in ("tuple_type", "list_type"):
            ends = [(option.get("minItems"), option.get("maxItems")) for option in options(node, full)]
            many = next((f" of {low}" for low, high in ends if low and low == high), "")
            message, got = f"give a list{many}", f" (got {_shown(fault['input'])})"
        elif fault["type"] == "too_short":
            message = f"give {fault['ctx']['min_length']} or more"
        elif not isinstance(fault.get("input"), (dict, list, tuple)):
            if fault["type"] in BOUNDS and (bounds := bounds_text(_bounds(node, full))):
                message = f"give {bounds}"
            message, got = message.partition(", unable to parse")[0], f" (got {_shown(fault['input'])})"
        told.setdefault(loc, ([], got))[0].append(message)
    for loc, (messages, got) in told.items():
        more = (message.removeprefix("Input should be ") for message in messages[1:])
        yield Fault((*at, *loc), " or ".join([messages[0], *more]) + got)
    for fault in found[MAX_FAULTS:]:
        yield Fault((*at, *fault["loc"]), fault["msg"])


def _find(loc: Loc, value: Any, full: Node, unknown: bool) -> tuple[Loc, Node]:
    """A fault's place without the names that pydantic gives to the branches of a union, and the schema there.

    Args:
        value: the whole that was validated.
        unknown: whether the last step is a key that the schema does not have.
    """
    node: Node = full
    out: list[Any] = []
    for n, step in enumerate(loc):
        if isinstance(step, int):
            inner = [_item(node, full, step)]
        else:
            objects = list(options(node, full))
            inner = [o["properties"][step] for o in objects if step in o.get("properties", {})]
            given = isinstance(value, Mapping) and step in value
            if not inner and not given and step != "[key]" and not (unknown and n == len(loc) - 1):
                continue  # a branch
            inner += [extra for o in objects if isinstance(extra := o.get("additionalProperties"), Mapping)]
        out.append(step)
        node = inner[0] if inner else {}
        try:
            value = value[step]
        except (LookupError, TypeError):  # what is missing or no container: the fault's last step
            value = None
    return tuple(out), node


def _bounds(node: Node, full: Node) -> Interval:
    """Of the number that a schema's node describes."""
    numbers = [bounds for option in options(node, full) if (bounds := interval(option)) != Interval()]
    return numbers[0] if len(numbers) == 1 else Interval()


def one_line(text: str) -> str:
    """Keys may hold anything, line breaks too, and as much of it as they like."""
    return flat(text[:1000])


def _text(key: Any) -> str:
    try:
        return str(key)
    except ValueError:  # an integer of thousands of digits, which Python does not print
        return "a very long number"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:
        return "a very long number"
    return text if len(text) <= 100 else f"{text[:100]}..."

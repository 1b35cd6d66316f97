"""Reading a recipe from YAML, with errors a person can act on.

Every refusal names the field, its line (or the ``--set`` that gave it), the value and the nearest valid name.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from lesionforge.engine import plugins, secrets
from lesionforge.engine.recipe import Recipe

MAX_BYTES = 2**20  # of a recipe
MAX_VALUES = 100_000  # of a recipe with its anchors unfolded
SHOWN = 20  # faults that are listed, at most


class RecipeError(Exception):
    """A recipe that cannot be used. The message lists every fault found, one a line."""


_NOT_YAML = (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError, AttributeError)  # what PyYAML raises


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe file.

    Args:
        path: YAML file.
        overrides: ``a.b=c`` assignments (the value is YAML), applied before validation.

    Raises:
        RecipeError: with one line per fault.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise RecipeError(f"recipe {path}: {reason}") from None
    if len(data) > MAX_BYTES:
        raise RecipeError(f"recipe {path}: is larger than {MAX_BYTES} bytes; is it a recipe?")
    return parse(text, str(path), overrides)


def parse(text: str, where: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
    """Validate recipe text; see ``load``."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if _values(node, {}) > MAX_VALUES:
            raise RecipeError(f"{where}: its anchors unfold to more than {MAX_VALUES} values, or to themselves")
        raw = yaml.safe_load(text)
    except _NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RecipeError(f"{where}{line}: not YAML: {_first(getattr(error, 'problem', None) or error)}") from None
    if not isinstance(raw, dict):
        raise RecipeError(
            f"{where}: a recipe is a mapping with name, seed, sources, generator; got {type(raw).__name__}"
        )
    places = _lines(node)
    raw = copy.deepcopy(raw)  # YAML anchors share objects; an override must not change both
    for override in overrides:
        _assign(raw, override, places)
    return _validate(raw, where, places)


def _validate(raw: dict[str, Any], where: str, places: Mapping[tuple[Any, ...], str]) -> Recipe:
    """The recipe's own model first, then each plugin's options, so that all faults of a level come at once."""
    if secret := list(secrets.found(raw)):  # before anything that quotes values
        lines = (f"{where}{_line(places, at)}: {'.'.join(map(str, at))}: {secrets.FIX}" for at in secret)
        raise RecipeError("\n".join(lines))
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(_explain(error, where, places, Recipe)) from None
    todo: list[tuple[str, str, str, dict[str, Any], tuple[Any, ...]]] = [
        ("sources", s.scheme, "Options", s.options, ("sources", i, "options")) for i, s in enumerate(recipe.sources)
    ]
    g = recipe.generator
    todo.append(("generators", g.name, "Params", g.params, ("generator", "params")))
    for kind, name, model, values, at in todo:
        try:
            plugin = plugins.load(kind, name)
            adapter = TypeAdapter(getattr(plugin, model))
            full = adapter.dump_python(adapter.validate_python(values), mode="json")
        except plugins.UnknownPlugin as error:
            raise RecipeError(f"{where}{_line(places, at[:-1])}: {error}") from None
        except ValidationError as error:
            raise RecipeError(_explain(error, where, places, getattr(plugin, model), at)) from None
        values.clear()
        values.update(full)  # the resolved recipe states every default
    return recipe


def _assign(raw: Any, override: str, places: dict[tuple[Any, ...], str]) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {path}: write it as path=value, e.g. --set generator.params.grid=60")
    keys: list[Any] = []
    at = raw
    parts = path.split(".")
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        key: Any = part
        if isinstance(at, list):
            if not (part.isascii() and part.isdigit() and len(part) < 10) or int(part) >= len(at):
                raise RecipeError(
                    f"--set {path}: {'.'.join(map(str, keys))} has items 0 to {len(at) - 1}, not {part!r}"
                )
            key = int(part)
        elif not isinstance(at, dict):
            raise RecipeError(f"--set {path}: {'.'.join(map(str, keys))} is a value, it has no {part!r}")
        keys.append(key)
        if following is None:
            try:
                at[key] = yaml.safe_load(text)
            except _NOT_YAML as error:
                raise RecipeError(f"--set {path}: the value is not YAML: {_first(error)}") from None
        elif isinstance(at, dict) and at.get(key) is None:
            at[key] = {}
        at = at[key]
    places[tuple(keys)] = f" --set {path}"


def _values(node: yaml.Node | None, known: dict[int, float]) -> float:
    """How many values a document has once every alias is unfolded; infinite for one that holds itself."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")  # what is met again before it is counted holds itself
        inside = (part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,)))
        known[id(node)] = 1 + sum(_values(part, known) for part in inside)
    return known[id(node)]


def _lines(
    node: yaml.Node | None, at: tuple[Any, ...] = (), seen: frozenset[int] = frozenset()
) -> dict[tuple[Any, ...], str]:
    """Where each field stands: path -> ``:line``."""
    if node is None or id(node) in seen:
        return {}
    seen |= {id(node)}
    out = {at: f":{node.start_mark.line + 1}"}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            out.update(_lines(value, (*at, key.value), seen))
            out[(*at, key.value)] = f":{key.start_mark.line + 1}"
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            out.update(_lines(value, (*at, i), seen))
    return out


def _line(places: Mapping[tuple[Any, ...], str], loc: tuple[Any, ...]) -> str:
    while loc and loc not in places:
        loc = loc[:-1]
    return places.get(loc, "")


def _explain(
    error: ValidationError,
    where: str,
    places: Mapping[tuple[Any, ...], str],
    model: Any,
    at: tuple[Any, ...] = (),
) -> str:
    lines = []
    faults = error.errors(include_url=False)
    for fault in faults[:SHOWN]:
        if any(len(f["loc"]) > len(fault["loc"]) and f["loc"][: len(fault["loc"])] == fault["loc"] for f in faults):
            continue  # what follows from a fault deeper inside is noise
        loc = (*at, *fault["loc"])
        field = ".".join(str(p) for p in loc if p != "[key]") or "recipe"
        message = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            message = "unknown key" + nearest(str(loc[-1]), _siblings(model, fault["loc"][:-1]))
        elif fault["type"] in ("missing", "missing_argument"):
            message = "is required"
        elif not isinstance(fault.get("input"), (dict, list, tuple)):
            message = f"{message} (got {_shown(fault['input'])})"
        lines.append(f"{where}{_line(places, loc)}: {_one_line(field)}: {_one_line(message)}")
    if len(faults) > SHOWN:
        lines.append(f"{where}: {len(faults) - SHOWN} more faults")
    return "\n".join(lines)


def _one_line(text: str) -> str:
    """Keys may hold anything, line breaks too."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:1000])


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits, which Python does not print
        return "a very long number"
    return text if len(text) <= 100 else f"{text[:100]}..."


def _first(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _siblings(model: Any, loc: Sequence[Any]) -> list[str]:
    """Names valid beside a refused key, read from the JSON Schema so that it holds for any kind of model."""
    full = TypeAdapter(model).json_schema()
    here = full
    for step in loc:
        here = _resolve(here, full)
        here = here.get("items", {}) if isinstance(step, int) else here.get("properties", {}).get(step, {})
    return list(_resolve(here, full).get("properties", {}))


def _resolve(node: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    for option in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
        if "$ref" in option:
            found: dict[str, Any] = full["$defs"][option["$ref"].rsplit("/", 1)[-1]]
            return found
    return node


def nearest(name: str, valid: Sequence[str]) -> str:
    """``; did you mean X?`` or the list of valid names."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; valid are {', '.join(valid)}"

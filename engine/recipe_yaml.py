"""Reading a recipe from YAML, with errors a person can act on.

Every refusal names the field, its line (or the ``--set`` that gave it), the value and the nearest valid name.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lesionforge.engine import plugins, secrets
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.validation import Fault, Invalid, one_line, plain, validate
from lesionforge.generators.types import UserError

MAX_BYTES = 2**20  # of a recipe
MAX_VALUES = 100_000  # of a recipe with its anchors unfolded
NAMED_BY: dict[plugins.Kind, str] = {"sources": "uri", "generators": "name"}  # the field that names a plug-in


class RecipeError(UserError):
    """A recipe that cannot be used. The message lists every fault found, one a line."""


_NOT_YAML = (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError, AttributeError)  # what PyYAML raises


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe file.

    Args:
        path: YAML file.
        overrides: ``a.b=c`` assignments (the value is YAML) and ``~a.b`` removals, applied before validation.

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
    if doubled := next(_doubled(node), None):
        raise RecipeError(f"{where}:{doubled.start_mark.line + 1}: {doubled.value} stands there twice; keep one")
    return from_mapping(raw, where, overrides, _lines(node))


def from_mapping(
    raw: Mapping[str, Any],
    where: str = "recipe",
    overrides: Sequence[str] = (),
    places: Mapping[tuple[Any, ...], str] | None = None,
) -> Recipe:
    """Validate a recipe given as mappings and lists; see ``load``.

    Args:
        where: its name in errors.
        places: where each field stands in a file.
    """
    if not isinstance(overrides, list | tuple) or not all(isinstance(override, str) for override in overrides):
        raise RecipeError(f"overrides is {repr(overrides)[:100]}: give a list of texts, such as ['multiply=4']")
    fields = copy.deepcopy(dict(raw))  # YAML anchors share objects; an override must not change both
    places = dict(places or {})
    for override in overrides:
        if override.startswith("~"):
            _remove(fields, override[1:])
        else:
            _assign(fields, override, places)
    return _validate(fields, where, places)


def _validate(raw: dict[str, Any], where: str, places: Mapping[tuple[Any, ...], str]) -> Recipe:
    """The recipe's own model first, then each plugin's options, so that all faults of a level come at once."""
    if secret := list(secrets.found(raw)):  # before anything that quotes values
        raise RecipeError("\n".join(_told(where, places, Fault(at, secrets.FIX)) for at in secret))
    try:
        recipe: Recipe = validate(Recipe, raw)
        todo: list[tuple[plugins.Kind, str, dict[str, Any], tuple[Any, ...]]] = [
            ("sources", s.scheme, s.options, ("sources", i, "options")) for i, s in enumerate(recipe.sources)
        ]
        if behind := recipe.backgrounds:
            todo.append(("sources", behind.scheme, behind.options, ("backgrounds", "options")))
        todo.append(("generators", recipe.generator.name, recipe.generator.params, ("generator", "params")))
        for kind, name, values, at in todo:
            model = plugins.model(kind, name)
            full = plain(model, validate(model, values, at))
            values.clear()
            values.update(full)  # the resolved recipe states every default
    except plugins.PluginError as error:
        raise RecipeError(_told(where, places, Fault((*at[:-1], NAMED_BY[kind]), str(error)))) from None
    except Invalid as error:
        lines = [_told(where, places, fault) for fault in error.faults]
        raise RecipeError("\n".join(lines + [f"{where}: {error.more} more faults"] * (error.more > 0))) from None
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
                value = at[key] = yaml.safe_load(text)
            except _NOT_YAML as error:
                raise RecipeError(f"--set {path}: the value is not YAML: {_first(error)}") from None
            if isinstance(value, dict) and any(":" in str(key) and item is None for key, item in value.items()):
                raise RecipeError(f"--set {path}: YAML wants a space after each colon: {text.replace(':', ': ')}")
        elif isinstance(at, dict) and at.get(key) is None:
            at[key] = {}
        at = at[key]
    for within in [place for place in places if place[: len(keys)] == tuple(keys)]:
        del places[within]  # what stood there is gone, and no line of the file is to blame
    places[tuple(keys)] = f"--set {path}"


def _remove(raw: Any, path: str) -> None:
    *parents, key = path.split(".")
    at = raw
    for part in parents:
        if isinstance(at, list):
            at = at[int(part)] if part in map(str, range(len(at))) else None
        else:
            at = at.get(part) if isinstance(at, dict) else None
    if not isinstance(at, dict) or key not in at:
        raise RecipeError(f"--unset {path}: the recipe has no such key")
    del at[key]


def _values(node: yaml.Node | None, known: dict[int, float]) -> float:
    """How many values a document has once every alias is unfolded; infinite for one that holds itself."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")  # what is met again before it is counted holds itself
        inside = (part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,)))
        known[id(node)] = 1 + sum(_values(part, known) for part in inside)
    return known[id(node)]


def _doubled(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Keys that stand twice in one mapping: YAML keeps the last without a word."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key
                seen.add(key.value)
            yield from _doubled(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _doubled(value)


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


def _told(where: str, places: Mapping[tuple[Any, ...], str], fault: Fault) -> str:
    """A fault with the place of its field: a line of the file, or the ``--set`` whose path often is the field."""
    at = fault.loc
    while at and at not in places:
        at = at[:-1]
    place = places.get(at, "")
    if not place.startswith("--set "):
        return f"{where}{place}: {fault}"
    return f"{place}: {one_line(fault.message) if at == fault.loc else fault}"


def _first(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

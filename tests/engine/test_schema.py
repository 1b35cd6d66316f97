"""What a recipe may say stands once, in the code: the schema and the reference page are made of it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
from annotated_types import Gt, Interval, Le

from lesionforge.engine import plugins, schema
from lesionforge.engine.recipe import Recipe
from lesionforge.generators.parameters import Parameters, Range

PAGE = Path(__file__).parents[2] / "jobs" / "recipes" / "REFERENCE.md"


def leaves(node, full):
    """Every named field at any depth, with its schema."""
    for name, inner in node.get("properties", {}).items():
        yield name, inner
        for option in schema.options(inner, full):
            yield from ((f"{name}.{deep}", found) for deep, found in leaves(option, full))


def bounded(inner, full):
    return bool(schema._bounds(list(schema.options(inner, full)), full))


def is_number(inner, full):
    """Or a range of numbers."""
    kinds = schema._union(inner, full)
    return "number" in kinds or "integer" in kinds


def test_the_schema_describes_recipes_and_plugins():
    body = schema.schema()
    assert body["properties"]["multiply"]["minimum"] == 1
    assert body["additionalProperties"] is False
    assert body["$defs"]["generators.biplane"]["properties"]["grid"]["default"] == 128
    assert body["$defs"]["generators.biplane"]["properties"]["grid"]["maximum"] == 512
    assert "sources.imagecas" in body["$defs"]
    json.dumps(body)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("generators", "sources") for name in plugins.names(kind)]
)
def test_every_parameter_has_a_text_and_every_number_its_bounds(kind, name):
    full = schema._of(plugins.model(kind, name))
    found = dict(leaves(full, full))
    assert found
    assert [n for n, inner in found.items() if not inner.get("description")] == []
    assert [n for n, inner in found.items() if is_number(inner, full) and not bounded(inner, full)] == []


def test_every_field_of_a_recipe_has_a_text():
    full = schema._of(Recipe)
    assert [name for name, inner in leaves(full, full) if not inner.get("description")] == []


@dataclass(frozen=True)
class Inner:
    """Of a part.

    Attributes:
        depth: how deep.
    """

    depth: Annotated[float, Gt(0), Le(2)] = 1


@dataclass(frozen=True)
class Outer(Parameters):
    """Of the whole.

    Attributes:
        low, high: either end,
            in mm.
        part: the part.
    """

    low: Range[Annotated[float, Interval(ge=0, le=9)]] = (1, 2)
    high: Annotated[int, Interval(ge=3)] | None = None
    part: Inner = field(default_factory=Inner)


def test_texts_and_bounds_are_read_from_plain_dataclasses_nested_too():
    full = schema._of(Outer)
    rows = {row[0]: row[1:] for row in schema._rows(full, full, "")}
    assert rows["`low`"] == ("[number, number]", "`[1, 2]`", "0 to 9", "either end, in mm.")
    assert rows["`high`"] == ("integer or null", "`null`", "3 or more", "either end, in mm.")
    assert rows["`part`"] == ("mapping", "", "", "the part.")
    assert rows["`part.depth`"] == ("number", "`1`", "above 0, at most 2", "how deep.")


def test_the_reference_page_is_what_the_code_says():
    """Write it again with ``lesionforge schema --markdown > jobs/recipes/REFERENCE.md``."""
    assert PAGE.read_text() == schema.markdown()

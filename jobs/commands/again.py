"""A dataset's recipe opened again, and what the dataset lost made again by it.

No dataset says where its sources and weights lie, as paths may hold names (promise P8): they are given anew, and held
against the dataset's identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lesionforge.engine import recipe_yaml
from lesionforge.engine.dataset import DatasetDescription, DatasetError
from lesionforge.engine.pipeline import SEAL, Pipeline
from lesionforge.engine.plugins import PluginError
from lesionforge.engine.trust import check_replay
from lesionforge.jobs import progress
from lesionforge.sinks import layout
from lesionforge.sinks.store import Store

PARAMS = "generator.params."
BACKGROUNDS = "backgrounds"  # what stands for a number in --source


def opened(
    store: Store,
    doc: DatasetDescription,
    sources: Mapping[int | str, str] | None = None,
    weights: Mapping[str, str] | None = None,
    resources: Sequence[str] = (),
    trust: bool = False,
) -> Pipeline:
    """Sources, generator and plan of a dataset, which are those that it was made from.

    Args:
        doc: the dataset's description.
        sources: number, or ``backgrounds``, -> URI of each input whose place the dataset does not say.
        weights: generator parameter -> where the weights lie.
        resources: ``resources.a=b`` for workers that make samples again.
        trust: import and open whatever the dataset names: see ``engine.trust``.

    Raises:
        DatasetError: where a source or weights have no place, or are not those it was made from.
    """
    own = doc.recipe
    given = {_number(doc, name, uri): uri for name, uri in (sources or {}).items()}
    inputs = [source.model_copy(update={"uri": given.get(n, source.uri)}) for n, source in enumerate(own.inputs)]
    for n, source in enumerate(inputs):
        if source.uri == f"{source.scheme}:":
            name = own.field_of(n).removeprefix("sources.")
            what = f"source {name} lies" if name.isdigit() else "the backgrounds lie"
            raise DatasetError(f"where {what} is written into no dataset: give --source {name}={source.scheme}:PLACE")
    generator = own.generator
    params = {**generator.params, **(weights or {})}
    for name, value in params.items():
        if str(value).startswith(SEAL):
            raise DatasetError(f"where weights lie is written into no dataset: give --set {PARAMS}{name}=FOLDER")
    generator = generator.model_copy(update={"params": params})
    if not trust:
        check_replay(doc, given, weights or {})
    recipe = own.reading(inputs).model_copy(update={"generator": generator})
    if resources:
        recipe = recipe_yaml.from_mapping(recipe.model_dump(mode="json"), overrides=resources)
    try:
        pipeline = Pipeline(recipe, doc.links)
    except PluginError as error:  # a recipe in YAML has been held against its plug-ins; this not
        raise DatasetError(f"{store.url(layout.RECIPE)}: {error}") from None
    progress.digests(pipeline.files)
    if pipeline.identity != doc.identity:
        same_sources = pipeline.fingerprints == [source.fingerprint for source in doc.sources]
        raise DatasetError(
            f"the {'weights' if same_sources else 'sources'} are not those that {store.url()} was made from (identity "
            f"{pipeline.identity[:12]}, dataset {doc.identity[:12]}); give the right place with --source N=URI or "
            f"--set {PARAMS}weights=FOLDER"
        )
    return pipeline


def _number(doc: DatasetDescription, name: int | str, uri: str) -> int:
    """Which input ``--source NAME=URI`` speaks of; the URI may hold a name and is not said again (promise P8)."""
    schemes, last = [source.scheme for source in doc.recipe.inputs], len(doc.recipe.sources) - 1
    if name == BACKGROUNDS and doc.recipe.backgrounds is None:
        raise DatasetError(f"--source {name}: the dataset has none")
    n = last + 1 if name == BACKGROUNDS else int(name)
    if name != BACKGROUNDS and n not in range(last + 1):
        raise DatasetError(f"--source {n}: the dataset has {'source 0 alone' if not last else f'sources 0 to {last}'}")
    if not str(uri).startswith(f"{schemes[n]}:"):
        what = f"source {name} is" if name != BACKGROUNDS else "the backgrounds are"
        raise DatasetError(f"--source {name}: {what} of kind {schemes[n]}: write --source {name}={schemes[n]}:PLACE")
    return n


def told(changes: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """``--set`` of a run: weights as of `placed`, and ``resources.a=b``, which are no part of a dataset.

    Raises:
        DatasetError: for what is nothing of that kind: all else is the dataset's own.
    """
    resources = [change for change in changes if change.startswith("resources.")]
    return placed([change for change in changes if change not in resources]), resources


def placed(changes: Sequence[str]) -> dict[str, str]:
    """``["generator.params.weights=/models/a"]`` as ``{"weights": "/models/a"}``.

    Raises:
        DatasetError: for what is nothing of that kind: all else is the dataset's own.
    """
    out = {}
    for change in changes:
        path, equals, place = change.partition("=")
        name = path.removeprefix(PARAMS)
        if not equals or name == path:
            raise DatasetError(
                f"--set {change}: a sample is made again by its dataset's recipe; only where its weights lie can be "
                "set, as generator.params.weights=FOLDER"
            )
        out[name] = place
    return out


def moved(sources: Sequence[str]) -> dict[int | str, str]:
    """``["0=ct:/data"]`` as ``{0: "ct:/data"}``; the backgrounds go by that name.

    Raises:
        DatasetError: for what is not N=URI.
    """
    out: dict[int | str, str] = {}
    for source in sources:
        name, equals, uri = source.partition("=")
        if not equals or not (name == BACKGROUNDS or (name.isascii() and name.isdigit() and len(name) < 10)):
            raise DatasetError("--source: write it as N=URI, e.g. --source 0=imagecas:/data/imagecas")
        out[name if name == BACKGROUNDS else int(name)] = uri
    return out

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


def opened(
    store: Store,
    doc: DatasetDescription,
    sources: Mapping[int, str] | None = None,
    weights: Mapping[str, str] | None = None,
    resources: Sequence[str] = (),
    trust: bool = False,
) -> Pipeline:
    """Sources, generator and plan of a dataset, which are those that it was made from.

    Args:
        doc: the dataset's description.
        sources: number -> URI of each source whose place the dataset does not say.
        weights: generator parameter -> where the weights lie.
        resources: ``resources.a=b`` for workers that make samples again.
        trust: import and open whatever the dataset names: see ``engine.trust``.

    Raises:
        DatasetError: where a source or weights have no place, or are not those it was made from.
    """
    sources = sources or {}
    for n, uri in sources.items():
        _check_place(doc, n, uri)
    recipes = [
        source.model_copy(update={"uri": sources.get(n, source.uri)}) for n, source in enumerate(doc.recipe.sources)
    ]
    for n, source in enumerate(recipes):
        if source.uri == f"{source.scheme}:":
            raise DatasetError(
                f"where source {n} lies is written into no dataset: give --source {n}={source.scheme}:PLACE"
            )
    generator = doc.recipe.generator
    params = {**generator.params, **(weights or {})}
    for name, value in params.items():
        if str(value).startswith(SEAL):
            raise DatasetError(f"where weights lie is written into no dataset: give --set {PARAMS}{name}=FOLDER")
    generator = generator.model_copy(update={"params": params})
    if not trust:
        check_replay(doc, sources, weights or {})
    recipe = doc.recipe.model_copy(update={"sources": tuple(recipes), "generator": generator})
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


def _check_place(doc: DatasetDescription, n: int, uri: str) -> None:
    """Hold ``--source N=URI`` against the dataset; the URI may hold a name and is not said again (promise P8)."""
    schemes = [source.scheme for source in doc.recipe.sources]
    if n not in range(len(schemes)):
        last = len(schemes) - 1
        raise DatasetError(f"--source {n}: the dataset has {'source 0 alone' if not last else f'sources 0 to {last}'}")
    if not str(uri).startswith(f"{schemes[n]}:"):
        raise DatasetError(f"--source {n}: source {n} is of kind {schemes[n]}: write --source {n}={schemes[n]}:PLACE")


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


def moved(sources: Sequence[str]) -> dict[int, str]:
    """``["0=ct:/data"]`` as ``{0: "ct:/data"}``.

    Raises:
        DatasetError: for what is not N=URI.
    """
    out = {}
    for source in sources:
        number, equals, uri = source.partition("=")
        if not equals or not (number.isascii() and number.isdigit() and len(number) < 10):
            raise DatasetError("--source: write it as N=URI, e.g. --source 0=imagecas:/data/imagecas")
        out[int(number)] = uri
    return out

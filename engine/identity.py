"""What every machine must agree on before it makes a sample of a dataset: its sources, its libraries, its identity."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from lesionforge.engine.faults import Fault
from lesionforge.engine.links import Links
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.sources.base import Source, SourceError, open_sources
from lesionforge.engine.sources.files import CONTENT_BYTES, Content, digests

# Those that decide bytes of a sample. Arrow holds the zstd that packs .npy.zst. Not Ray.
LIBRARIES = (
    "lesionforge", "numpy", "pyarrow", "scipy", "numba", "scikit-image", "odl", "pillow", "zlib", "nibabel", "pydicom",
    "python-gdcm", "torch", "diffusers",
)  # fmt: skip


@dataclass(frozen=True)
class Terms:
    """What the driver saw, for its workers: given to each once, when it starts (40 bytes a file).

    A worker lists the sources itself. It does not hash them: the content of a file is held against the driver's digest
    when a case is read, and trusted unread only where the file's state (size, times, inode, or a server's ETag) is the
    very one that the driver saw, as on a share.

    Attributes:
        identity: of the dataset.
        fingerprints: of each source.
        links: which subjects are one, so that no worker looks for them.
        contents: of each source: what is known of each of its files, in order.
        versions: of the libraries.
    """

    identity: str
    fingerprints: tuple[str, ...]
    links: Links
    contents: tuple[bytes, ...]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, pipeline: Pipeline) -> Terms:
        """What this process sees."""
        contents = []
        for source in pipeline.sources:
            digests(files := source.files())
            contents.append(b"".join(file.content.packed() for file in files))
        return cls(pipeline.identity, tuple(pipeline.fingerprints), pipeline.links, tuple(contents), versions())

    def open(self, recipe: Recipe) -> Pipeline:
        """A worker's own pipeline, whose reads are held to these terms.

        Raises:
            Fault: where a source, the weights or a library are not those that the driver saw; the message says which.
        """
        if differing := difference(self.versions, versions()):
            raise Fault("place", f"this node has other versions than the driver: {differing}; install the same")
        try:
            sources = open_sources(recipe)
            for n, source in enumerate(sources):
                self._hold(recipe.field_of(n), n, recipe.inputs[n].scheme, source)
            pipeline = Pipeline(recipe, self.links, sources)
            same = pipeline.identity == self.identity
        except SourceError as error:  # the driver has opened it
            raise Fault("place", f"{error}; the driver saw it") from None
        if not same:
            raise Fault("place", "generator.params: the weights on this node are not the driver's")
        return pipeline

    def _hold(self, field: str, n: int, scheme: str, source: Source) -> None:
        files, contents = source.files(), self.contents[n]
        told = f"{field} ({scheme}) is not what the driver saw: "
        rule = "; it must be whole and the same on every node, from the start of a run to its end"
        if len(files) * CONTENT_BYTES != len(contents):
            raise Fault("place", f"{told}{len(files)} files here, {len(contents) // CONTENT_BYTES} there{rule}")
        for k, file in enumerate(files):
            known = Content.unpacked(contents[k * CONTENT_BYTES : (k + 1) * CONTENT_BYTES])
            file.content.digest, file.content.state = known.digest, known.state
        if source.fingerprint() != self.fingerprints[n]:
            raise Fault("place", f"{told}as many files, of other names, sizes or labels{rule}")


@functools.cache  # a tenth of a second, and asked for every run and worker
def versions() -> dict[str, str]:
    """Installed versions of the libraries that decide bytes."""
    out = {"zlib": zlib.ZLIB_RUNTIME_VERSION}  # Python's own, which packs .npy.gz
    for name in LIBRARIES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def difference(begun: Mapping[str, str], here: Mapping[str, str]) -> str:
    """In which libraries two sets of versions differ, in words; empty where in none."""
    names = [name for name in LIBRARIES if begun.get(name) != here.get(name)]
    return ", ".join(f"{name} {here.get(name, 'none')} in place of {begun.get(name, 'none')}" for name in names)

"""No identifier and no secret leaves: the short form of ``python -m tests.privacy``, which is all of it."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin
from pydicom.datadict import tag_for_keyword

from lesionforge.engine.messages import Task
from lesionforge.engine.ray.actor import ShardWorker
from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.sources.base import SourceError, open_source
from lesionforge.engine.sources.dicom import XA_RUN
from lesionforge.jobs import cli, console
from lesionforge.jobs.commands.replay import Replay
from lesionforge.sinks.store import StoreError
from tests.privacy import worlds
from tests.privacy.campaign import run
from tests.privacy.canaries import Canaries
from tests.privacy.search import Searched, unpacked
from tests.privacy.standard import TABLE_E_1_1

pytestmark = pytest.mark.timeout(600)  # one fixture does it all, two starts of Ray included


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return run(tmp_path_factory.mktemp("privacy"))


def test_nothing_leaks(figures):
    assert figures["leaks"] == []
    assert figures["leaked"] == 0


def test_there_was_something_to_leak(figures):
    """Good samples and bad ones of every source, all commands, the dashboard, thousands of canaries."""
    assert figures["identifiers planted"] > 30_000
    assert figures["secrets planted"] >= 18
    assert figures["samples"] >= 25
    said = " | ".join(figures["reasons"])
    for words in (
        "run 5: has an unknown modality",
        "label 3: is no NIfTI",
        "picture 4: is no readable picture",
        "this is",
    ):
        assert words in said
    assert figures["files searched"] > 300
    assert figures["bytes searched"] > 5_000_000
    assert figures["command lines of processes"] > 10


def test_mistakes_end_in_one_line_and_all_else_does_its_work(figures):
    wrong = ("missing", "empty", "file", "strange", "broken", "refused", "unreachable", "nowhere")
    for name, code in figures["exit codes"].items():
        assert code == (1 if name.startswith(wrong) else 0), name


def test_writing_in_the_pixels_is_counted(figures):
    """A frame with letters, and one whose file declares some: both samples of the first, one or two of the other."""
    assert 2 <= figures["flagged as carrying writing"] <= 4


def test_our_own_ray_listens_on_loopback_alone(figures):
    assert figures["who listens beyond loopback"] == []
    names = {name.split(":")[0] for name in figures["who listens"]}
    assert {"gcs_server", "raylet"} <= names
    assert figures["sockets of our own Ray"] >= 8


def test_the_table_is_in_the_dictionary_and_nothing_of_it_is_let_in():
    assert [word for word in TABLE_E_1_1 if tag_for_keyword(word) is None] == []
    assert len(set(TABLE_E_1_1)) == len(TABLE_E_1_1) > 450
    assert set(TABLE_E_1_1) & set(XA_RUN) == set()
    assert [word for word in XA_RUN if tag_for_keyword(word) is None] == []


@pytest.fixture
def canaries():
    return Canaries()


@pytest.mark.parametrize(
    "disguise",
    [
        str.encode,
        lambda text: text.upper().encode(),
        lambda text: text.lower().encode(),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode().hex().encode(),
        *(lambda text, n=n: base64.b64encode(b"x" * n + text.encode() + b"y") for n in range(3)),
        lambda text: hashlib.sha256(text.encode()).hexdigest().encode(),
        lambda text: hashlib.md5(text.encode()).hexdigest()[:16].encode(),
        lambda text: json.dumps(f"a\n{text}\u00e9").encode(),
    ],
)
def test_a_canary_is_known_in_any_disguise(canaries, disguise):
    assert canaries.found(disguise(canaries.text("here")))
    assert not canaries.found(disguise("Zqyj00000"))


@pytest.mark.parametrize("vr", ["PN", "LO", "CS", "DA", "TM", "DT", "AS", "IS", "DS", "UI"])
def test_a_canary_of_any_kind_is_known(canaries, vr):
    value = canaries.of(vr, "here")
    assert canaries.found(f"x={value};".encode())
    if vr == "PN":
        assert all(canaries.found(part.encode()) for part in value.split("^"))
    if vr == "DA":
        assert canaries.found(f"{value[:4]}-{value[4:6]}-{value[6:]}".encode())


def packed(text: str) -> dict[str, bytes]:
    out = {name: io.BytesIO() for name in ("tar", "zip", "parquet", "metadata", "png")}
    with tarfile.open(fileobj=out["tar"], mode="w") as tar:
        info = tarfile.TarInfo("x.gz")
        data = gzip.compress(text.encode())
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(out["zip"], "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", text * 3)
    pq.write_table(pa.table({"x": [text]}), out["parquet"], compression="zstd")
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"x": text}), out["metadata"])
    info = PngImagePlugin.PngInfo()
    info.add_text("x", text, zip=True)
    Image.new("L", (8, 8)).save(out["png"], "PNG", pnginfo=info)
    found = {name: file.getvalue() for name, file in out.items()}
    return found | {"html": b"<img src='data:image/png;base64," + base64.b64encode(found["png"]) + b"'>"}


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet", "metadata", "png", "html"])
def test_the_search_looks_into_what_is_packed(canaries, kind):
    data = packed(canaries.text("here"))[kind]
    searched = Searched()
    searched.look("file", data, canaries)
    assert sum(searched.leaks.values()) > 0
    assert searched.bytes == len("file") + sum(map(len, unpacked(data)))


def test_every_source_can_name_the_file_of_a_case(tmp_path, canaries):
    """For ``lesionforge replay`` on a terminal: a reason says a number, and this the file."""
    for recipe in worlds.sources(tmp_path, canaries):
        source = open_source(SourceRecipe(**recipe))
        place = recipe["uri"].split(":", 1)[1]
        files = [source.locate(case) for case in range(source.cases)]
        assert len(files) >= 4
        assert all(file.startswith(f"{place}/") for file in files)


def test_a_worker_s_error_has_no_chain():
    """Ray shows an exception with all that caused it in its dashboard; only ours has been cleared of secrets."""

    class Failing:
        def make(self, *_):
            try:
                raise OSError("http://jane:hunter2@there")
            except OSError as error:
                raise StoreError("cannot write") from error

    worker = object.__new__(ShardWorker)
    worker._worker = Failing()
    with pytest.raises(StoreError) as error:
        worker.make(Task(0))
    assert error.value.__cause__ is error.value.__context__ is None


class Screen(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_a_source_s_place_is_said_to_a_terminal_alone(monkeypatch, terminal):
    err, out = Screen(terminal), Screen(terminal)
    monkeypatch.setattr(console, "err", console.Console(file=err, soft_wrap=True, highlight=False))
    monkeypatch.setattr(console, "out", console.Console(file=out, soft_wrap=True, highlight=False))
    error = SourceError("sources.0.uri (dicom): no such folder")
    error.place = "/data/DOE_JANE"
    with pytest.raises(SystemExit):
        cli._fail(str(error), True, 1, error.place)
    assert ("/data/DOE_JANE" in err.getvalue()) is terminal
    assert "DOE_JANE" not in out.getvalue()  # --json may go anywhere
    Replay("s", file="/data/DOE_JANE/1.dcm").show(console.out)
    assert ("DOE_JANE" in out.getvalue()) is terminal

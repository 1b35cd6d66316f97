"""What a source holds is known by content, wherever and under whatever name it lies."""

import gzip
import hashlib
import os
import stat
import time

import fsspec
import numpy as np
import pytest
from PIL import Image

from lesionforge.engine.faults import Fault
from lesionforge.engine.sources import cache, entry, files, nifti
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import digests
from lesionforge.engine.sources.folder import Folder, content_of
from lesionforge.engine.sources.pictures.masks import Masks, MasksOptions
from lesionforge.engine.sources.trees.labels import LabelOptions, Nifti
from lesionforge.engine.sources.xa.runs import DicomOptions, XaDicom
from lesionforge.generators.types import BadCase
from tests.engine.sources.test_ct import lits
from tests.engine.sources.test_ct import source as volumes


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def pair(folder, grey, name="1"):
    """A picture and its mask, BMP, so that every grey level has the same number of bytes."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full((32, 32), grey, np.uint8)).save(folder / f"{name}.bmp")
    mask = np.zeros((32, 32), np.uint8)
    mask[2:4] = 255
    Image.fromarray(mask).save(folder / f"{name}_gt.bmp")


def masks(folder):
    return Masks(str(folder), MasksOptions())


def settle(monkeypatch):
    """As if the files had been there for a while: fresh ones are hashed on every reading."""
    monkeypatch.setattr(files, "SETTLED_NS", -(10**12))


def replace_quietly(path, data):
    """Other bytes of equal number under the same name and time."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_pictures_replaced_by_others_of_equal_name_size_and_time_are_another_source(tmp_path, monkeypatch):
    """trust.md A5: names and sizes stood for the content."""
    settle(monkeypatch)
    pair(tmp_path / "a", 90)
    pair(tmp_path / "b", 91)
    before = masks(tmp_path / "a").fingerprint()
    replace_quietly(tmp_path / "a" / "1.bmp", (tmp_path / "b" / "1.bmp").read_bytes())
    time.sleep(0.01)  # the kernel's clock ticks every 4 ms
    assert masks(tmp_path / "a").fingerprint() == masks(tmp_path / "b").fingerprint() != before


def test_another_hospital_s_runs_of_equal_sizes_are_another_source(tmp_path):
    """trust.md A5."""
    marks = []
    for name, level in (("a", 3), ("b", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(bytes(128) + b"DICM" + bytes([level]) * 64)
        marks.append(XaDicom(str(tmp_path / name), DicomOptions()).fingerprint())
    assert marks[0] != marks[1]


def test_the_same_files_elsewhere_are_the_same_source(tmp_path):
    pair(tmp_path / "a", 90)
    pair(tmp_path / "b", 90)
    place = fsspec.filesystem("memory")
    for path in (tmp_path / "a").iterdir():
        place.pipe_file(f"/content/{path.name}", path.read_bytes())
    prints = {masks(p).fingerprint() for p in (tmp_path / "a", tmp_path / "b", "memory://content")}
    assert len(prints) == 1
    assert len({masks(p).secret() for p in (tmp_path / "a", "memory://content")}) == 1


def test_what_was_hashed_is_hashed_again_only_where_it_changed(tmp_path, monkeypatch):
    settle(monkeypatch)
    for name in "123":
        pair(tmp_path / "a", 90, name)
    hashed = []
    real = files.File._hash
    monkeypatch.setattr(files.File, "_hash", lambda file: hashed.append(file.name) or real(file))
    told = []
    digests(Folder(str(tmp_path / "a")).walk(), told.append)
    assert len(hashed) == 6
    assert sum(told) == sum(p.stat().st_size for p in (tmp_path / "a").iterdir())
    replace_quietly(tmp_path / "a" / "2.bmp", (tmp_path / "a" / "2_gt.bmp").read_bytes())
    found = digests(Folder(str(tmp_path / "a")).walk(), told.append)
    assert hashed[6:] == ["2.bmp"]
    assert found[2] == found[3] == hashlib.sha256((tmp_path / "a" / "2_gt.bmp").read_bytes()).digest()
    (tmp_path / "cache" / cache.DIGESTS).write_bytes(b"no database" * 100)  # costs time alone
    assert digests(Folder(str(tmp_path / "a")).walk()) == digests(Folder(str(tmp_path / "a")).walk()) == found


def test_a_file_just_written_is_not_trusted_by_its_time_stamp(tmp_path):
    """Within one tick of the clock it may change again and show the same state."""
    pair(tmp_path / "a", 90)
    source = masks(tmp_path / "a")
    source.fingerprint()
    assert source.files()[0].content.state == b""
    with cache._database() as rows:
        assert rows.execute("SELECT count(*) FROM digests").fetchone() == (0,)


@pytest.mark.parametrize("settled", [True, False])
def test_a_file_replaced_meanwhile_is_no_other_picture(tmp_path, monkeypatch, settled):
    """trust.md A2, A5: nobody looked whether a case is still the one that the identity stands for."""
    if settled:
        settle(monkeypatch)
    pair(tmp_path / "a", 90)
    source = masks(tmp_path / "a")
    source.fingerprint()
    first = source.read(0)
    time.sleep(0.01)
    replace_quietly(tmp_path / "a" / "1.bmp", (tmp_path / "a" / "1_gt.bmp").read_bytes())
    with pytest.raises(Fault, match="is not what it was when the run began") as told:
        source.read(0)
    assert str(tmp_path) not in str(told.value)
    assert "bmp" not in str(told.value)
    pair(tmp_path / "a", 90)  # put back
    assert np.array_equal(source.read(0).image, first.image)


def test_what_was_read_of_a_file_earlier_is_held_against_its_digest_too(tmp_path):
    """Else voxels that another run has cached of a replaced label would be taken unseen."""
    pair(tmp_path / "a", 90)
    (file, _) = masks(tmp_path / "a").files()
    digests([file])
    file.check()
    replace_quietly(tmp_path / "a" / "1.bmp", (tmp_path / "a" / "1_gt.bmp").read_bytes())
    with pytest.raises(Fault):
        file.check()
    with pytest.raises(Fault), file.open() as stream:
        stream.read()


def test_what_is_too_large_to_be_read_is_not_hashed(tmp_path):
    """A sparse file of a terabyte took minutes, and was then told to have changed."""
    with (tmp_path / "a.nii").open("wb") as file:
        file.truncate(2**40)
    (file,) = Folder(str(tmp_path)).walk()
    assert digests([file]) == [files.UNREADABLE]
    file.check()


def test_a_file_replaced_while_it_is_read_is_noticed(tmp_path, monkeypatch):
    settle(monkeypatch)
    pair(tmp_path / "a", 90)
    (file, _) = masks(tmp_path / "a").files()
    digests([file])

    def replaced():
        with file.open() as stream:
            stream.read()
            replace_quietly(tmp_path / "a" / "1.bmp", (tmp_path / "a" / "1_gt.bmp").read_bytes())

    with pytest.raises(Fault):
        replaced()


def test_a_volume_replaced_by_a_broken_one_is_no_fault_of_the_case(tmp_path):
    """Whatever its reader says of what lies there now: it is not what the identity stands for."""
    path = tmp_path / "1.nii.gz"
    path.write_bytes(b"\x1f\x8b" + bytes(100))
    source = Nifti(str(tmp_path), LabelOptions())
    source.fingerprint()
    path.write_bytes(bytes(102))
    with pytest.raises(Fault):
        source.read(0)


def test_what_changes_while_it_is_hashed_or_is_gone_is_no_source(tmp_path, monkeypatch):
    pair(tmp_path / "a", 90)
    source, real = masks(tmp_path / "a"), files.File._hash

    def grows(file):
        with open(file.path, "ab") as stream:
            stream.write(b"more")
        return real(file)

    monkeypatch.setattr(files.File, "_hash", grows)
    with pytest.raises(SourceError, match="changes while it is read: is it still being copied"):
        source.fingerprint()
    monkeypatch.setattr(files.File, "_hash", real)
    source = masks(tmp_path / "a")
    (tmp_path / "a" / "1.bmp").unlink()
    with pytest.raises(SourceError, match="is gone since it was listed"):
        source.fingerprint()


def test_weights_are_known_by_content(tmp_path):
    """A folder's, whatever it is called; hidden files, such as a file browser's, are none of it."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "lesionforge.json").write_text("{}")
        (tmp_path / name / "net.safetensors").write_bytes(b"weights")
    (tmp_path / "b" / ".DS_Store").write_bytes(b"x")
    assert content_of(str(tmp_path / "a")) == content_of(str(tmp_path / "b"))
    (tmp_path / "b" / "lesionforge.json").write_text("[]")
    assert content_of(str(tmp_path / "a")) != content_of(str(tmp_path / "b"))
    assert content_of(str(tmp_path / "a" / "net.safetensors")) == content_of(str(tmp_path / "b" / "net.safetensors"))
    with pytest.raises(SourceError, match="no such folder"):
        content_of(str(tmp_path / "c"))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The cache folder that is used where nobody names one."""
    monkeypatch.delenv("LESIONFORGE_CACHE")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return cache.cache_folder()


def poisoned(mark):
    return cache.remembered(mark, ("values",), lambda: {"values": np.arange(3)})["values"]


def test_a_cache_folder_of_others_is_not_used(temporary, tmp_path, monkeypatch):
    """trust.md A9: somebody else's folder in its place was written to and read from."""
    temporary.mkdir(mode=0o700)
    assert cache.distrust(temporary) == ""
    poisoned("mark")
    (kept,) = temporary.glob("*.kept")
    entry.write(kept, entry.pieces({"values": np.zeros(3)}))
    assert poisoned("mark").tolist() == [0, 0, 0]  # our own folder is believed
    for mode, why in ((0o755, r"others may look there \(mode 755\)"), (0o1777, "others may write there")):
        temporary.chmod(mode)
        assert why.replace("\\", "") in cache.distrust(temporary)
        assert poisoned("mark").tolist() == [0, 1, 2]
    temporary.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: temporary.stat().st_uid + 1)
    monkeypatch.setattr(cache, "cache_folder", lambda: temporary)
    assert cache.distrust(temporary) == "it belongs to somebody else"
    assert poisoned("mark").tolist() == [0, 1, 2]
    assert digests(Folder(str(tmp_path)).walk())
    assert not (temporary / cache.DIGESTS).exists()


def test_a_link_in_the_place_of_the_cache_folder_is_not_followed(temporary, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir(mode=0o700)
    temporary.symlink_to(tmp_path / "mine")
    assert cache.distrust(temporary) == "it is no folder"
    poisoned("mark")
    assert not list((tmp_path / "mine").iterdir())
    monkeypatch.setenv("LESIONFORGE_CACHE", str(temporary))  # but where its user says so
    poisoned("mark")
    assert list((tmp_path / "mine").iterdir())


def test_a_new_cache_folder_is_nobody_else_s(temporary):
    poisoned("mark")
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700


def test_ct_larger_than_a_case_may_be_is_not_unpacked_to_be_compared(tmp_path, monkeypatch):
    """Two equal bombs of 1 GiB took 15 s."""
    for n in range(2):
        lits(tmp_path, n=n)
    equal = volumes(tmp_path).contents([0, 1], True)
    assert equal[0] == equal[1] != b""
    (tmp_path / "volume-0.nii.gz").touch()
    monkeypatch.setattr(nifti, "MAX_VOXELS", 100)
    monkeypatch.setattr(nifti, "planes", lambda *_: pytest.fail("it was unpacked"))
    found = volumes(tmp_path)
    assert found.contents([0, 1], True) == [b"", b""]
    with pytest.raises(BadCase, match="at most 100 voxels are read"):
        found.read(0)


def test_a_volume_that_cannot_be_in_its_file_is_known_by_size_and_header(tmp_path, monkeypatch):
    lits(tmp_path)
    raw = bytearray(gzip.decompress((tmp_path / "volume-0.nii.gz").read_bytes()))
    raw[42:48] = np.array([512, 512, 900], "<i2").tobytes()
    (tmp_path / "volume-0.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    monkeypatch.setattr(nifti, "planes", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(BadCase, match=r"has shape \(512, 512, 900\), which \d+ bytes cannot hold"):
        volumes(tmp_path).read(0)

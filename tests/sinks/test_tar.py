"""The shard format: one USTAR file, the same bytes always, that other people's readers read."""

import hashlib
import io
import random
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lesionforge.sinks import tar
from lesionforge.sinks.encode import encode
from lesionforge.sinks.tar import BLOCK, Tar
from tests.sinks.samples import fields, meta, name_of, packed, whole

ODD_SIZES = {"empty.bin": b"", "one.bin": b"x", "block.bin": b"y" * 512, "more.bin": b"z" * 513}
BYTES = whole(packed()[0])


def shard() -> bytes:
    body, _ = packed()
    body.add("odd-sizes", ODD_SIZES)
    return whole(body)


def test_same_samples_give_the_same_bytes():
    assert shard() == shard()
    body = Tar()
    body.add("odd-sizes", ODD_SIZES)
    assert body.close() == "5bb5955fed0aa8fa6caa9abbf2370d627e6ebdc437397ec052704e137d717099"  # in every version


def test_hash_and_size_are_those_of_the_file():
    body, _ = packed()
    assert body.close() == hashlib.sha256(b"".join(body.chunks)).hexdigest()
    assert body.close() == body.close()  # closing twice adds nothing
    assert body.size == len(b"".join(body.chunks))


def test_python_and_gnu_tar_read_every_member(tmp_path):
    path = tmp_path / "shard.tar"
    path.write_bytes(shard())
    expected = {
        f"{name_of(i)}.{name}": encode(name, value)
        for i in range(3)
        for name, value in {**fields(i), "json": meta(i)}.items()
    } | {f"odd-sizes.{name}": data for name, data in ODD_SIZES.items()}
    with tarfile.open(path, "r:") as file:
        assert {m.name: file.extractfile(m).read() for m in file} == expected
    listed = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == list(expected)
    assert listed.stderr == ""
    subprocess.run(["tar", "xf", path, "-C", tmp_path], check=True)
    assert {name: (tmp_path / name).read_bytes() for name in expected} == expected


def test_nothing_of_the_machine_or_the_hour_stands_in_a_header():
    with tarfile.open(fileobj=io.BytesIO(BYTES)) as file:
        for m in file:
            assert (m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime) == (0o644, 0, 0, "", "", 0)
            assert (m.type, m.linkname, m.devmajor, m.devminor, m.pax_headers) == (tarfile.REGTYPE, "", 0, 0, {})
    assert BYTES[257:265] == b"ustar\x0000"
    assert len(BYTES) % BLOCK == 0
    assert BYTES[-1024:] == bytes(1024)


def test_offsets_and_sizes_are_found_by_slicing():
    body, rows = packed()
    data = whole(body)
    for i, row in enumerate(rows):
        for m in row.members:
            value = {**fields(i), "json": meta(i)}[m["name"]]
            assert data[m["offset"] : m["offset"] + m["size"]] == encode(m["name"], value)
        alone = data[row.offset : row.offset + row.size]  # a sample's range is a tar of its own, but for its end
        with tarfile.open(fileobj=io.BytesIO(alone + bytes(1024))) as file:
            assert file.getnames() == [f"{row.sample_id}.{m['name']}" for m in row.members]


def test_read_gives_back_what_add_returned():
    body, entries = Tar(), []
    for i in range(4):
        entries.append(body.add(f"k{i}", {"a.npy": bytes(i * 300), "json": b"{}"}))
    assert list(tar.read(whole(body))) == entries
    assert list(tar.read(whole(Tar()))) == []


@pytest.mark.parametrize("key", ["a.b", "a/b", "__a", "", "a b", "a\0b", "ä"])
def test_keys_that_readers_split_or_skip_are_refused(key):
    with pytest.raises(ValueError, match=r"key|name"):
        Tar().add(key, {"json": b"{}"})


@pytest.mark.parametrize("name", ["", "a/b.png", "a.", "a\0.png", "a b.png", "ä.png", "a\n.png"])
def test_field_names_that_readers_lose_are_refused(name):
    with pytest.raises(ValueError, match="member name"):
        Tar().add("key", {name: b""})


def test_names_of_100_bytes_fit_and_of_101_are_refused_leaving_nothing():
    body = Tar()
    body.add("k" * 95, {"json": b"{}"})
    before = b"".join(body.chunks)
    with pytest.raises(ValueError, match="101 bytes long"):
        body.add("k", {"json": b"first of a sample that cannot be whole", "n" * 99: b""})
    assert b"".join(body.chunks) == before
    with tarfile.open(fileobj=io.BytesIO(whole(body))) as file:
        assert file.getnames() == ["k" * 95 + ".json"]


def test_a_bit_flipped_outside_the_data_is_noticed():
    inside = [range(m.offset, m.offset + m.size) for entry in tar.read(BYTES) for m in entry.members]
    entries = list(tar.read(BYTES))
    rng = random.Random(1)
    for at in [*rng.sample(range(len(BYTES)), 1500), *range(BLOCK)]:
        mutant = bytearray(BYTES)
        mutant[at] ^= 1 << rng.randrange(8)
        if any(at in data for data in inside):
            assert list(tar.read(bytes(mutant))) == entries
        else:
            with pytest.raises(ValueError, match="byte"):
                list(tar.read(bytes(mutant)))


def test_a_file_cut_anywhere_is_noticed():
    rng = random.Random(2)
    for end in [0, 1, len(BYTES) - 1, len(BYTES) - BLOCK, *rng.sample(range(len(BYTES)), 300)]:
        with pytest.raises(ValueError, match="byte"):
            list(tar.read(BYTES[:end]))
    with pytest.raises(ValueError, match="byte"):
        list(tar.read(BYTES + bytes(BLOCK)))


@settings(max_examples=200, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, len(BYTES)), st.integers(0, 40), st.binary(max_size=40)), max_size=4))
def test_damage_of_any_kind_ends_in_value_error(edits):
    data = BYTES
    for at, cut, put in edits:
        data = data[:at] + put + data[at + cut :]
    try:
        list(tar.read(data))
    except ValueError:
        return
    assert len(data) == len(BYTES)


@pytest.mark.parametrize("size", [b"-0000001000", b"77777777777", b"0000_000001", b" 000000001 ", b"+0000000001"])
def test_a_size_field_with_a_right_checksum_cannot_send_the_reader_astray(size):
    header = bytearray(BYTES[:BLOCK])
    header[124:135] = size
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
    with pytest.raises(ValueError, match="byte 0"):
        list(tar.read(bytes(header) + BYTES[BLOCK:]))


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_tars_of_other_writers_are_refused(kind):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as file:
        for name in ("a.json", "folder/b.json", "ä.json", "no-extension"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = 2, 1.5, "somebody"
            file.addfile(info, io.BytesIO(b"{}"))
    with pytest.raises(ValueError, match="byte"):
        list(tar.read(out.getvalue()))


def _exact(key, data):
    """WebDataset's own handlers turn every picture into 8 bits a channel; this keeps 16."""
    return np.asarray(Image.open(io.BytesIO(data))) if key.endswith(".png") else None


@pytest.mark.parametrize("spec", ["exact", "l8", "rgb8", "pil"])
def test_webdataset_decodes_every_member_to_the_original(tmp_path: Path, spec: str):
    path = tmp_path / "train-000000.tar"
    path.write_bytes(BYTES)
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode(_exact if spec == "exact" else spec))
    assert [s["__key__"] for s in samples] == [name_of(i) for i in range(3)]
    kept = {"exact": {"view0.png", "depth.png", "colour.png"}, "l8": {"view0.png"}}.get(spec, {"colour.png"})
    for i, sample in enumerate(samples):
        assert sample["json"] == meta(i)
        for name, value in fields(i).items():
            if name in kept or not name.endswith(".png"):
                found = np.asarray(sample[name])
                assert np.array_equal(found, value), name
                assert found.dtype == value.dtype, name

"""Members decode to what was encoded, in readers of other people, and the same value gives the same bytes."""

import gzip
import io
import random
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from lesionforge.sinks.encode import decode, encode
from tests.sinks.samples import fields, meta

RNG = np.random.default_rng(0)
PNGS = [
    RNG.integers(0, 256, (7, 5), dtype=np.uint8),
    RNG.integers(0, 65536, (7, 5), dtype=np.uint16),
    RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8),
]


@pytest.mark.parametrize("value", PNGS, ids=["grey8", "grey16", "colour"])
def test_png_is_read_back_by_pillow_and_by_us(value):
    for array in (value, np.asfortranarray(value), value[::-1, ::-1]):
        data = encode("view0.png", array)
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG"
            assert not image.info  # no text, no time
            read = np.asarray(image)
        for found in (read, decode("view0.png", data)):
            assert np.array_equal(found, array)
            assert found.dtype == value.dtype


@settings(max_examples=100, deadline=None)
@given(
    value=hnp.arrays(
        st.sampled_from(["f2", "f4", "f8", "u1", "u2", "i2", "i8", "?", ">i4"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_npy_is_read_back_by_numpy_and_by_us(value):
    for name in ("a.npy", "a.npy.gz", "a.npy.zst"):
        data = encode(name, value)
        plain = gzip.decompress(data) if name.endswith("gz") else data
        plain = pa.input_stream(pa.py_buffer(data), compression="zstd").read() if name.endswith("zst") else plain
        for found in (np.load(io.BytesIO(plain), allow_pickle=False), decode(name, data)):
            assert found.dtype == value.dtype
            assert found.shape == value.shape
            assert np.array_equal(found, value)


@given(value=hnp.arrays("i2", hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_differences_are_read_back_by_the_cards_three_lines_and_by_us(value):
    data = encode("ct.delta.npy.zst", value)
    steps = np.load(io.BytesIO(pa.input_stream(pa.py_buffer(data), compression="zstd").read()))
    assert np.array_equal(np.cumsum(steps[0] + steps[1] * np.int16(256), axis=-1, dtype=np.int16), value)
    assert np.array_equal(found := decode("ct.delta.npy.zst", data), value)
    assert found.dtype == np.int16
    assert found.flags.writeable
    assert encode("ct.delta.npy.zst", np.asfortranarray(value)) == data


def test_a_tree_and_a_ct_are_small():
    tree = np.zeros((64, 64, 64), np.uint8)
    tree[20:40, 30:33, 10:50] = 1
    assert len(encode("volume.npy.zst", tree)) < tree.nbytes / 100
    ct = (RNG.normal(0, 12, (48, 48, 48)) + np.linspace(-100, 300, 48)).astype(np.int16)
    assert len(encode("ct.delta.npy.zst", ct)) < 0.9 * len(encode("ct.npy.gz", ct))


def test_memory_order_of_an_array_does_not_reach_the_bytes():
    value = RNG.normal(size=(4, 6)).astype(np.float16)
    assert encode("a.npy", np.asfortranarray(value)) == encode("a.npy", value)
    assert encode("a.npy", np.repeat(value, 2, axis=1)[:, ::2]) == encode("a.npy", value)


def test_gzip_carries_no_time_and_no_name(monkeypatch):
    value = np.zeros((3, 3), np.uint8)
    first = encode("mask.npy.gz", value)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert encode("mask.npy.gz", value) == first
    assert first[:4] == b"\x1f\x8b\x08\x00"  # no flags: neither name nor comment
    assert first[4:8] == bytes(4)  # time stamp


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "c8"])
def test_numbers_that_are_none_are_refused(number, kind):
    for name in ("volume.npy", "volume.npy.gz"):
        with pytest.raises(ValueError, match="volume"):
            encode(name, np.array([0, number], kind))
    with pytest.raises(ValueError):  # noqa: PT011 - json's own message
        encode("json", {"labels": {"value": float(number)}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.npy", np.array([{}, 1], object)),
        ("a.npy", np.array([(1, None)], [("x", int), ("y", object)])),
        ("a.npy", [1, 2]),
        ("a.npy", None),
        ("a.npy.gz", 3.0),
        ("a.delta.npy.zst", np.zeros(3, np.float32)),
        ("a.delta.npy.zst", np.array(3, np.int16)),
        ("a.png", "picture"),
        ("a.png", np.zeros((4, 4), np.float32)),
        ("a.png", np.zeros((4, 4), ">u2")),
        ("a.png", np.zeros((4, 4), bool)),
        ("a.png", np.zeros((4, 4, 4), np.uint8)),
        ("a.png", np.zeros((4, 4, 3), np.uint16)),
        ("a.png", np.zeros(4, np.uint8)),
        ("a.png", np.zeros((0, 4), np.uint8)),
        ("a.jpg", np.zeros((4, 4), np.uint8)),
        ("a.gz", b"bytes"),
        ("noextension", np.zeros(3)),
        ("json", {"labels": object()}),
        ("json", {"labels": np.zeros(3)}),
    ],
)
def test_what_has_no_encoding_is_refused_with_value_error(name, value):
    with pytest.raises(ValueError, match=r"\w"):
        encode(name, value)


def test_json_is_canonical():
    value = {"b": np.float32(0.5), "a": [np.int64(3), True, None, "ä"], "c": {"z": 1, "y": 2.5}}
    data = encode("json", value)
    assert data == b'{"a":[3,true,null,"\\u00e4"],"b":0.5,"c":{"y":2.5,"z":1}}'
    assert encode("json", dict(reversed(value.items()))) == data
    assert encode("json", decode("json", data)) == data


def test_damage_ends_in_value_error_and_never_in_another():
    rng = random.Random(3)
    sound = {name: encode(name, value) for name, value in {**fields(0), "json": meta(0)}.items()}
    noticed = 0
    for _ in range(6000):
        name, data = rng.choice(list(sound.items()))
        mutant = bytearray(data)
        for _ in range(rng.choice([1, 1, 3])):
            at = rng.randrange(len(mutant) + 1)
            mutant[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
        try:
            decode(name, bytes(mutant[: rng.choice([None, len(mutant) // 2])]))
        except ValueError as error:
            noticed += name.split(".")[0] in str(error) or name == "json"
    assert noticed > 3000


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", b""),
        ("a.png", b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00"),
        ("a.npy", encode("a.npy", np.zeros(9))[:-1]),
        (
            "a.npy",
            b"\x93NUMPY\x01\x00v\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }".ljust(118),
        ),
        ("a.npy.gz", gzip.compress(b"no array", mtime=0)),
        ("json", b"[" * 100_000),
        ("json", b"\xff"),
        ("a.txt", b"text"),
    ],
)
def test_rubbish_is_told_with_value_error(name, data):
    with pytest.raises(ValueError, match=r"\w"):
        decode(name, data)


def test_png_is_read_whatever_others_put_in_the_place_of_pillow_s_open(monkeypatch):
    """Ultralytics does, with one that installs packages."""
    monkeypatch.setattr("PIL.Image.open", None)
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    data = encode("a.png", picture)
    assert np.array_equal(decode("a.png", data), picture)
    huge = bytearray(data)
    huge[16:24] = (70_000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(bytes(huge[12:29])).to_bytes(4, "big")
    with pytest.raises(ValueError, match="70000 x 70000"):
        decode("a.png", bytes(huge))

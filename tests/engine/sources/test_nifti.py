"""Gzip streams of NIfTI files, unpacked piece by piece."""

import gzip

import numpy as np
import pytest

from lesionforge.engine.sources import nifti
from lesionforge.engine.sources.folder import Folder
from lesionforge.generators.types import BadCase
from tests.engine.sources.test_ct import hu, write


@pytest.fixture
def raw(tmp_path):
    """What an unpacked volume of 8 slices holds."""
    write(tmp_path / "made.nii.gz", hu())
    return gzip.decompress((tmp_path / "made.nii.gz").read_bytes())


def voxels(folder, data):
    (folder / "a.nii.gz").write_bytes(data)
    with nifti.opened(Folder(str(folder)).files()["a.nii.gz"]) as (header, stream):
        return np.stack(list(nifti.planes(header, stream)), axis=2)


@pytest.mark.parametrize("piece", [1, 7, 240, 2**18])
def test_members_and_padding_are_read_as_gzip_reads_them(tmp_path, monkeypatch, raw, piece):
    monkeypatch.setattr(nifti, "PIECE", piece)
    members = [gzip.compress(part) for part in (raw[:100], b"", raw[100:1000], raw[1000:])]
    for packed in (gzip.compress(raw), gzip.compress(raw, 0), b"".join(members), bytes(9).join([*members, b""])):
        assert gzip.decompress(packed) == raw
        assert np.array_equal(voxels(tmp_path, packed), hu())


@pytest.mark.parametrize("piece", [1, 240, 2**18])
def test_a_stream_that_is_no_longer_what_was_packed_is_refused(tmp_path, monkeypatch, raw, piece):
    """Also where all voxels are there."""
    monkeypatch.setattr(nifti, "PIECE", piece)
    good = gzip.compress(raw)
    checksum = bytes([good[-8] ^ 1])
    for packed in (good[:-8] + checksum + good[-7:], good[:-1] + b"\1", good[:-1], good + b"\x1f\x8b", good + b"more"):
        with pytest.raises(BadCase, match="its gzip stream is broken"):
            voxels(tmp_path, packed)


def test_a_checksum_is_held_however_the_file_fills_buffers(tmp_path):
    """With the last voxel ends the first MiB of the stream, and with that what had to be unpacked."""
    write(tmp_path / "made.nii.gz", np.zeros((183, 179, 32), np.uint8))
    packed = (tmp_path / "made.nii.gz").read_bytes()
    assert len(gzip.decompress(packed)) == 2**20
    with pytest.raises(BadCase, match="its gzip stream is broken"):
        voxels(tmp_path, packed[:-8] + bytes(4) + packed[-4:])

"""CT volumes with label maps: layouts, axes, resampling, and what is refused."""

import gzip
import itertools
import json
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.ct.axes import Axes
from lesionforge.engine.sources.ct.folder import CtOptions, CtVolumes
from lesionforge.engine.sources.ct.scan import CtScan
from lesionforge.generators.types import BadCase

SHAPE = (12, 10, 8)
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
PLAIN = RAS @ np.array([[1.5, 0, 0, -40], [0, 2.0, 0, 30], [0, 0, 3.0, -100], [0, 0, 0, 1]])  # array along LPS


def hu(shape=SHAPE):
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape) - 200


def labels(shape=SHAPE):
    out = np.zeros(shape, np.uint8)
    out[3:9, 2:8, 2:6] = 1
    out[5:7, 4:6, 3:5] = 2
    return out


def write(path, array, affine=PLAIN, slope=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    if slope:
        image.header.set_slope_inter(*slope)
    nib.save(image, path)


def lits(folder, image=None, label=None, affine=PLAIN, n=0):
    write(folder / f"volume-{n}.nii.gz", hu() if image is None else image, affine)
    write(folder / f"segmentation-{n}.nii.gz", labels() if label is None else label, affine)
    return folder


def source(folder, **options):
    return CtVolumes(str(folder), CtOptions(**options))


def refusal(folder, **options):
    with pytest.raises(BadCase) as error:
        source(folder, **options).read(0)
    assert str(folder) not in str(error.value)
    assert "volume-0" not in str(error.value)
    return str(error.value)


def test_all_48_ways_to_store_an_array_give_the_same_volume(tmp_path):
    """Oracle: the array itself, which ``PLAIN`` places along LPS; flips and permutations must be exact."""
    for n, (order, flips) in enumerate(
        itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3))
    ):
        image, label, affine = hu(), labels(), PLAIN.copy()
        for axis, sign in enumerate(flips):
            if sign < 0:
                image, label = np.flip(image, axis), np.flip(label, axis)
                affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
                affine[:3, axis] *= -1
        turned = affine[:, [*order, 3]]
        folder = lits(tmp_path / str(n), image.transpose(order), label.transpose(order), turned)
        volume = source(folder).read(0)
        assert np.array_equal(volume.hu, hu())
        assert np.array_equal(volume.labels, labels())
        np.testing.assert_allclose(volume.spacing_mm, [1.5, 2, 3], rtol=1e-6)
        np.testing.assert_allclose(volume.origin_mm, [-40, 30, -100], atol=1e-4)
        # and a region of it is the same part, however it is stored
        part = source(folder, region=("liver_tumour",), margin_mm=2.0).read(0)
        assert np.array_equal(part.hu, hu()[3:9, 3:7, 2:6])
        assert np.array_equal(part.labels, labels()[3:9, 3:7, 2:6])
        np.testing.assert_allclose(part.origin_mm, [-40 + 4.5, 30 + 6, -100 + 6], atol=1e-4)
    assert n == 47


def turned_by(degrees):
    a = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return turn @ PLAIN


def test_oblique_volumes_are_refused_with_their_angle_or_resampled(tmp_path):
    shape, affine = (40, 40, 10), turned_by(7)
    world = nib.affines.apply_affine(affine, np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)) * [
        -1,
        -1,
        1,
    ]
    ramp = np.rint(4 * world[..., 0] + 2 * world[..., 1] + world[..., 2]).astype(np.int16) + np.int16(200)
    folder = lits(tmp_path, ramp, labels(shape), affine)
    assert "7.00 degrees off the patient's" in refusal(folder)
    for how in ("linear", "cubic"):
        volume = source(folder, oblique="resample", interpolation=how).read(0)
        assert volume.notes["oblique_deg"] == pytest.approx(7, abs=0.01)
        i, j, k = (
            np.arange(n) * mm + o for n, mm, o in zip(volume.hu.shape, volume.spacing_mm, volume.origin_mm, strict=True)
        )
        expected = 4 * i[:, None, None] + 2 * j[None, :, None] + k[None, None, :] + 200
        inside = volume.hu > -1024
        middle = tuple(slice(n // 4, -(n // 4)) for n in inside.shape[:2])
        assert inside[middle].mean() > 0.99
        assert np.abs(volume.hu - expected)[middle][inside[middle]].max() <= 1.5
        before = (labels(shape) == 1).sum()
        assert (volume.labels == 1).sum() == pytest.approx(before, rel=0.1)


def test_a_slightly_turned_affine_counts_as_straight_and_a_sheared_one_is_refused(tmp_path):
    assert source(lits(tmp_path / "a", affine=turned_by(0.05))).read(0).hu.shape == SHAPE
    sheared = PLAIN.copy()
    sheared[1, 2] = 3 * np.tan(np.deg2rad(15))
    assert "15.0 degrees off right angles" in refusal(lits(tmp_path / "b", affine=sheared))


@pytest.mark.parametrize("how", ["linear", "cubic"])
def test_resampling_keeps_the_place_of_everything(how):
    """A ramp comes out as the same ramp of the world, and a block keeps its volume in mm3."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in (20, 24, 16)), indexing="ij")
    scan = CtScan(
        (10 * x + 6 * y - 4 * z).astype(np.int16), (x // 8 == 1).astype(np.uint8), (2.0, 1.0, 3.0), (5.0, -7.0, 9.0)
    )
    new = scan.resampled((1.0, 1.5, 1.0), how)
    assert new.hu.shape == (40, 16, 48)
    places = [o + mm * np.arange(n) for o, mm, n in zip(new.origin_mm, new.spacing_mm, new.hu.shape, strict=True)]
    i, j, k = ((at - o) / mm for at, o, mm in zip(places, scan.origin_mm, scan.spacing_mm, strict=True))
    expected = 10 * i[:, None, None] + 6 * j[None, :, None] - 4 * k[None, None, :]
    inner = (slice(4, -4),) * 3
    assert np.abs(new.hu - expected)[inner].max() <= 0.5 + 1e-9
    # the outer edges lie where they lay
    for axis in range(3):
        low = scan.origin_mm[axis] - scan.spacing_mm[axis] / 2
        assert new.origin_mm[axis] - new.spacing_mm[axis] / 2 == pytest.approx(low)
    assert new.labels.sum() * 1.5 == pytest.approx(scan.labels.sum() * 6)


def test_cubic_follows_a_curve_that_linear_cuts():
    x = np.arange(30, dtype=np.float64)
    curve = np.broadcast_to((x**2)[:, None, None], (30, 4, 4)).astype(np.int16)
    scan = CtScan(curve, None, (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    for how, limit in (("cubic", 0.51), ("linear", None)):
        new = scan.resampled((1.0, 1.0, 1.0), how)
        at = (np.arange(60) + 0.5) / 2 - 0.5
        worst = np.abs(new.hu[:, 0, 0] - at**2)[6:-6].max()
        assert worst <= limit if limit else worst > 0.1


def test_resampling_is_told(tmp_path):
    folder = lits(tmp_path)
    volume = source(folder, spacing_mm=(1, 1, 1), interpolation="cubic").read(0)
    assert volume.spacing_mm == (1, 1, 1)
    assert volume.notes["resampled_from_mm"] == [1.5, 2.0, 3.0]
    assert volume.notes["interpolation"] == "cubic"
    assert set(np.unique(volume.labels)) == {0, 1, 2}
    same = source(folder, spacing_mm=(1.5, 2, 3)).read(0)
    assert np.array_equal(same.hu, hu())
    assert "resampled_from_mm" not in same.notes


def make_kits(folder):
    for n in (3, 12):
        write(folder / f"case_{n:05d}/imaging.nii.gz", hu())
        write(folder / f"case_{n:05d}/segmentation.nii.gz", labels())


def make_imagecas(folder):
    for n in (1, 2):
        write(folder / f"{n}.img.nii.gz", hu())
        write(folder / f"{n}.label.nii.gz", (labels() > 0).astype(np.float64))


def make_totalsegmentator(folder):
    for n in (11, 12):
        write(folder / f"s{n:04d}/ct.nii.gz", hu())
        for name, value in (("liver", 1), ("kidney_left", 2), ("vertebrae_L1", 1)):
            write(folder / f"s{n:04d}/segmentations/{name}.nii.gz", (labels() == value).astype(np.uint8))


def make_msd(folder, told=None):
    for n in (1, 10):
        write(folder / f"imagesTr/pancreas_{n}.nii.gz", hu())
        write(folder / f"labelsTr/pancreas_{n}.nii.gz", labels())
    (folder / "imagesTr/._pancreas_1.nii.gz").write_bytes(b"what macOS leaves")
    told = told or {"labels": {"0": "background", "1": "pancreas", "2": "cancer"}, "modality": {"0": "CT"},
                    "licence": "CC-BY-SA 4.0, by Jane Doe"}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(told))


def make_nnunet(folder):
    make_msd(folder, {"labels": {"background": 0, "liver": 1, "liver tumor": 2}, "channel_names": {"0": "CT"}})
    for path in list((folder / "imagesTr").glob("pancreas*")):
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))


def make_lits(folder):
    lits(folder / "Training Batch 1", n=0)
    lits(folder / "Training Batch 2", n=7)


@pytest.mark.parametrize(
    ("make", "layout", "legend"),
    [
        (make_lits, "lits", {1: "liver", 2: "liver_tumour"}),
        (make_kits, "kits", {1: "kidney", 2: "kidney_tumour"}),
        (make_msd, "msd", {1: "pancreas", 2: "pancreas_tumour"}),
        (make_nnunet, "msd", {1: "liver", 2: "liver_tumour"}),
        (make_imagecas, "imagecas", {1: "coronary"}),
        (make_totalsegmentator, "totalsegmentator", {1: "kidney", 2: "liver"}),
    ],
)
def test_layouts_are_recognised(tmp_path, make, layout, legend):
    make(tmp_path)
    found = source(tmp_path)
    assert (found.layout, found.subjects) == (layout, 2)
    volumes = [found.read(n) for n in range(2)]
    assert len({v.subject for v in volumes}) == 2
    for volume in volumes:
        present = {v: volume.legend[v] for v in np.unique(volume.labels) if v}
        assert present == legend
        named = {name: (volume.labels == v).sum() for v, name in present.items()}
        small = 8 if len(named) == 2 else None
        sizes = sorted(named.values())
        assert sizes == ([small, 144 - small] if small else [144])
    assert "Doe" not in found.licence
    assert source(tmp_path, layout=layout).subjects == 2


def test_pairs_need_a_legend_and_merge_what_it_calls_alike(tmp_path):
    write(tmp_path / "a_ct.nii.gz", hu())
    write(tmp_path / "a_seg.nii.gz", labels())
    with pytest.raises(SourceError, match="option legend"):
        source(tmp_path)
    volume = source(tmp_path, legend={1: "kidney_left", 2: "kidney_right"}).read(0)
    assert volume.legend == {1: "kidney"}
    assert (volume.labels == 1).sum() == 144
    found = source(tmp_path, legend={2: "liver"})
    volume = found.read(0)  # what it does not name is left out, and counted
    assert (volume.legend, int((volume.labels > 0).sum())) == ({2: "liver"}, 8)
    assert volume.notes["labels_left_out"] == {"1": 136}
    assert "what the option legend does not name is background" in found.notes[0]
    found = source(tmp_path, legend={2: "liver"}, labels=("liver",))  # then it is left out knowingly, and counted
    assert found.read(0).notes["labels_left_out"] == {"1": 136}
    assert not found.notes


def test_files_that_are_no_pair_are_told_the_rule_and_counted_without_their_names(tmp_path):
    write(tmp_path / "doe_ct_sm.nii.gz", hu())
    write(tmp_path / "doe_seg.nii.gz", labels())
    with pytest.raises(SourceError, match=r"of 2 files 2 are NIfTI, 1 of these named as label maps.*NAME_seg") as error:
        source(tmp_path)
    assert "doe" not in str(error.value)


def test_folders_that_could_be_two_sets_or_none_are_refused(tmp_path):
    make_kits(tmp_path)
    lits(tmp_path)
    with pytest.raises(SourceError, match="lits or kits"):
        source(tmp_path)
    assert source(tmp_path, layout="kits").subjects == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="laid out like none of"):
        source(tmp_path / "empty")
    with pytest.raises(SourceError, match="not laid out like imagecas"):
        source(tmp_path, layout="imagecas")


def test_a_decathlon_of_another_modality_or_a_broken_index_is_refused(tmp_path):
    make_msd(tmp_path, {"labels": {"0": "background", "1": "prostate"}, "modality": {"0": "T2"}})
    with pytest.raises(SourceError, match="another modality"):
        source(tmp_path)
    for text in ("{", "[]", '{"labels": 3}', '{"labels": {"1": ["a"]}, "modality": []}'):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(SourceError, match="cannot be understood"):
            source(tmp_path)


@pytest.mark.parametrize(
    ("image", "label", "words"),
    [
        (hu() / np.float32(1000), None, "no Hounsfield units"),
        (np.where(hu() == 5, np.nan, hu()).astype(np.float32), None, "are no numbers, in slice"),
        (None, labels() + 0.5, "holds 0.5; labels are whole numbers"),
        (None, labels().astype(np.int16) * 200, "holds 400"),
        (None, labels((12, 10, 9)), "label map has (12, 10, 9) voxels"),
        (np.zeros((*SHAPE, 2), np.int16), None, "has shape"),
    ],
)
def test_what_is_no_ct_or_no_label_map_is_a_reason(tmp_path, image, label, words):
    message = refusal(lits(tmp_path, image, label))
    assert words in message
    assert message.startswith("volume 1: ")


def test_label_maps_elsewhere_and_unplaced_images_are_refused(tmp_path):
    moved = PLAIN.copy()
    moved[2, 3] += 4
    lits(tmp_path / "a")
    write(tmp_path / "a" / "segmentation-0.nii.gz", labels(), moved)
    assert "up to 4.0 mm from the image" in refusal(tmp_path / "a")
    image = nib.Nifti1Image(hu(), None)
    lits(tmp_path / "b")
    nib.save(image, tmp_path / "b" / "volume-0.nii.gz")
    assert "does not say how it lies" in refusal(tmp_path / "b")


def test_broken_files_are_reasons(tmp_path):
    lits(tmp_path)
    path = tmp_path / "volume-0.nii.gz"
    good = path.read_bytes()
    raw = gzip.decompress(good)
    for data, words in (
        (good[: len(good) // 2], "gzip stream is broken"),
        (b"", "no NIfTI file"),
        (gzip.compress(raw[:800]), "ends in slice"),
        (gzip.compress(raw[:42] + (30000).to_bytes(2, "little") * 3 + raw[48:]), "has shape"),
    ):
        path.write_bytes(data)
        assert words in refusal(tmp_path)


def test_scaled_and_big_endian_values_are_hounsfield_units(tmp_path):
    lits(tmp_path)
    image = nib.Nifti1Image((hu() * 2 + 2048).astype(np.uint16), PLAIN)
    image.header.set_slope_inter(0.5, -1024)
    stored = nib.Nifti1Image(((hu() + 1024) * 2).astype(">u2"), PLAIN, nib.Nifti1Header(endianness=">"))
    stored.header.set_slope_inter(0.5, -1024)
    for one in (image, stored):
        raw = bytearray(one.to_bytes())
        codes = {"<": "<", ">": ">"}[one.header.endianness]
        raw[112:120] = np.array([0.5, -1024], f"{codes}f4").tobytes()
        (tmp_path / "volume-0.nii.gz").write_bytes(gzip.compress(bytes(raw)))
        assert np.array_equal(source(tmp_path).read(0).hu, hu())


def test_memory_is_that_of_the_volume_not_of_the_file(tmp_path):
    """Float64 on the disk, 8 bytes a voxel; in memory 3, and of a region its share."""
    shape = (96, 96, 96)
    rng = np.random.default_rng(0)
    label = np.zeros(shape, np.uint8)
    label[40:50, 40:50, 40:50] = 1
    lits(tmp_path, rng.integers(-1000, 1000, shape).astype(np.float64), label)
    voxels = np.prod(shape)
    for options, limit in (({}, 5.0), ({"region": ("liver",), "margin_mm": 5.0}, 2.6)):
        found = source(tmp_path, **options)
        tracemalloc.start()
        found.read(0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < limit * voxels + 2**22, options  # and the stream's buffer


def test_the_same_case_is_the_same_whoever_reads_it_and_names_say_nothing(tmp_path):
    a, b = (source(lits(tmp_path)).read(0) for _ in range(2))
    assert a.source_id == b.source_id
    assert "volume-0" not in a.source_id + str(a.notes)
    found = source(tmp_path)
    assert found.locate(0).endswith("volume-0.nii.gz")
    assert "volume" not in found.fingerprint()
    assert len(found.secret()) == 32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"legend": {0: "liver"}}, "values from 1 to 255"),
        ({"spacing_mm": (0.0, 1, 1)}, "spacing_mm is 0: give 0.1 to 20"),
        ({"margin_mm": -1}, "margin_mm is -1: give 0 to 1000"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        CtOptions(**options)


def test_axes_are_named():
    assert Axes.of(np.diag([1.0, 1, 1, 1])).name() == "LPS"
    assert Axes.of(np.diag([-1.0, -1, 1, 1])).name() == "RAS"
    assert Axes.of(np.eye(4)[:, [2, 0, 1, 3]] * [-1, 1, 1, 1]).name() == "ILP"


def test_real_organs_lie_where_they_should(tmp_path, data_dir):
    folder = data_dir / "ct_organs"
    for name, path in (("a_ct", "example_ct_sm"), ("a_seg", "example_seg")):
        (tmp_path / f"{name}.nii.gz").write_bytes((folder / f"{path}.nii.gz").read_bytes())
    legend = {1: "spleen", 2: "kidney_right", 3: "kidney_left", 5: "liver", 7: "pancreas"}
    volume = source(tmp_path, legend=legend).read(0)
    stored = nib.load(folder / "example_ct_sm.nii.gz")
    assert volume.hu.shape == stored.shape
    assert volume.hu.astype(float).sum() == np.asarray(stored.dataobj).astype(float).sum()
    centre = {
        name: np.argwhere(volume.labels == value).mean(0) * volume.spacing_mm for value, name in volume.legend.items()
    }
    assert centre["spleen"][0] > centre["liver"][0] + 100  # LPS: the spleen on the left
    assert centre["kidney"][1] > centre["liver"][1]  # kidneys behind
    liver = volume.hu[volume.labels == 5]
    assert 30 < np.median(liver) < 70


def test_real_heart_region(tmp_path, data_dir):
    folder = data_dir / "ct_cardiac"
    for name, path in (("a_ct", "pulm_ct_cropped"), ("a_seg", "pulmonary_artery")):
        (tmp_path / f"{name}.nii.gz").write_bytes((folder / f"{path}.nii.gz").read_bytes())
    volume = source(tmp_path, legend={1: "pulmonary_artery"}, region=("pulmonary_artery",), margin_mm=10).read(0)
    assert np.median(volume.hu[volume.labels == 1]) > 200  # contrast agent
    assert volume.hu.shape < (122, 102, 112)

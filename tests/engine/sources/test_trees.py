import gzip

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.phantom import Phantom, PhantomOptions
from lesionforge.engine.sources.trees.labels import ImageCas, LabelOptions, Nifti
from lesionforge.engine.sources.trees.split import components
from lesionforge.generators.types import BadCase


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def two_trees(shape=(60, 50, 40)):
    """A right tree of 900 and a left one of 600 voxels in a RAS array: the first index grows to the patient's right."""
    label = np.zeros(shape, np.uint8)
    label[40:50, 20:30, 10:19] = 1
    label[5:15, 20:30, 10:16] = 1
    return label


RAS = np.diag([0.5, 0.5, 0.75, 1.0])


def write(folder, label, affine=RAS, name="1.label.nii.gz", dtype=np.uint8):
    folder.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(label.astype(dtype), affine), folder / name)
    return folder


def sorted_points(tree):
    return tree.points[np.lexsort(tree.points.T)]


def refusal(source, case=0):
    with pytest.raises(BadCase) as error:
        source.read(case)
    return str(error.value)


def test_sides_are_told_by_the_world_not_by_the_array(tmp_path):
    label = two_trees()
    plain = ImageCas(str(write(tmp_path / "a", label)), LabelOptions())
    left, right = plain.read(0), plain.read(1)
    assert (left.side, right.side) == ("left", "right")
    assert left.points[:, 0].mean() > right.points[:, 0].mean() + 10  # LPS: +x to the patient's left
    # The same patient stored with flipped and permuted axes gives the same points.
    flipped = label[::-1, :, ::-1]
    affine = RAS @ np.array([[-1, 0, 0, 59], [0, 1, 0, 0], [0, 0, -1, 39], [0, 0, 0, 1.0]])
    mirrored = ImageCas(str(write(tmp_path / "b", flipped, affine)), LabelOptions())
    turned = ImageCas(str(write(tmp_path / "c", label.transpose(2, 0, 1), RAS[:, [2, 0, 1, 3]])), LabelOptions())
    for other in (mirrored, turned):
        for case, tree in enumerate((left, right)):
            assert other.read(case).side == tree.side
            np.testing.assert_allclose(sorted_points(other.read(case)), sorted_points(tree), atol=1e-4)


def test_world_coordinates_are_nibabel_s(tmp_path):
    """Oracle: nibabel's own affine on the voxel indices, an oblique one; LPS is RAS with x and y turned."""
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.4, 0.5, 0.8])
    affine[:3, 3] = [-30, 12, 100]
    source = ImageCas(str(write(tmp_path / "a", two_trees(), affine)), LabelOptions())
    stored = nib.load(tmp_path / "a" / "1.label.nii.gz")
    world = nib.affines.apply_affine(stored.affine, np.argwhere(stored.get_fdata())) * [-1, -1, 1]
    both = np.concatenate([source.read(0).points, source.read(1).points])
    np.testing.assert_allclose(both[np.lexsort(both.T)], world[np.lexsort(world.astype(np.float32).T)], atol=1e-4)
    tree = source.read(0)
    np.testing.assert_allclose(tree.lattice, np.diag([-1, -1, 1]) @ affine[:3, :3], atol=1e-6)
    assert np.prod(tree.voxel_mm) == pytest.approx(0.4 * 0.5 * 0.8, rel=1e-5)  # of a turned one, a box as large
    np.testing.assert_allclose(tree.voxel_mm, [0.4, 0.5, 0.8], rtol=0.05)


def test_components_are_those_of_scipy():
    """Largest first, of equal ones the one whose first voxel comes first; voxels in the order in which they came."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        box = rng.random(rng.integers(1, 12, 3)) < rng.random() * 0.4
        voxels = rng.permutation(np.argwhere(box)).astype(np.int32)
        if not len(voxels):
            continue
        marks = ndimage.label(box, np.ones((3, 3, 3)))[0][tuple(voxels.T)]
        wanted = sorted((voxels[marks == n] for n in range(1, marks.max() + 1)), key=len, reverse=True)
        for found, part in zip(components(voxels - np.int32(3)), wanted, strict=True):
            assert np.array_equal(found + 3, part)


def test_strays_are_dropped_and_counted(tmp_path):
    label = two_trees()
    label[0, 0, 0] = label[59, 49, 39] = label[58, 48, 38] = 1
    tree = ImageCas(str(write(tmp_path / "a", label)), LabelOptions()).read(0)
    assert (tree.notes["components"], tree.notes["stray_voxels"]) == (4, 3)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda v: v.__setitem__((slice(10, 45), 22, 12), 1), "touch, or one is missing"),
        (lambda v: v.__setitem__(slice(30, 60), 0), "touch, or one is missing"),
        (lambda v: v.__setitem__((slice(20, 25), slice(0, 6), slice(30, 36)), 1), "a tree is broken"),
        (lambda v: v.__setitem__(slice(None), 0), "the label is empty"),
        (lambda v: v.__setitem__((45, 25, 12), 2), "read images by ct: (beside 0 it holds 1, 2)"),
    ],
)
def test_trees_that_cannot_be_told_are_refused(tmp_path, spoil, words):
    label = two_trees()
    spoil(label)
    message = refusal(ImageCas(str(write(tmp_path / "a", label)), LabelOptions()))
    assert words in message
    assert message.startswith("label 1: ")


def test_side_by_side_centroids_are_refused(tmp_path):
    affine = RAS[:, [1, 0, 2, 3]]  # left-right along the array's second axis, where the two lie level
    assert "tell left from right" in refusal(ImageCas(str(write(tmp_path / "a", two_trees(), affine)), LabelOptions()))


def test_one_tree_is_taken_where_its_side_is_named(tmp_path):
    label = two_trees()
    label[30:] = 0
    folder = write(tmp_path / "a", label, name="case.nii.gz")
    source = Nifti(str(folder), LabelOptions(sides=("left",)))
    assert (len(source.files()), source.read(0).side, len(source.read(0).points)) == (1, "left", 600)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_any_number_type_and_plain_or_zipped(tmp_path, dtype):
    expected = ImageCas(str(write(tmp_path / "a", two_trees())), LabelOptions()).read(0).points
    for name in ("1.label.nii.gz", "1.label.nii"):
        folder = write(tmp_path / name, two_trees(), name=name, dtype=dtype)
        assert np.array_equal(ImageCas(str(folder), LabelOptions()).read(0).points, expected)


def test_unreadable_files_are_reasons_with_the_file_s_number(tmp_path):
    folder = write(tmp_path / "a", two_trees())
    good = (folder / "1.label.nii.gz").read_bytes()
    raw = gzip.decompress(good)
    singular = bytearray(raw)
    singular[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    huge = bytearray(raw)
    huge[42:44] = (32767).to_bytes(2, "little")
    huge[44:46] = (32767).to_bytes(2, "little")
    files = {
        "2": good[: len(good) // 2], "3": b"", "4": b"not a label", "5": gzip.compress(raw[:5000]),
        "6": gzip.compress(bytes(huge)), "7": gzip.compress(bytes(singular)),
    }  # fmt: skip
    for number, data in files.items():
        (folder / f"{number}.label.nii.gz").write_bytes(data)
    source = ImageCas(str(folder), LabelOptions(sides=("left",)))
    assert source.subjects == 7
    assert source.read(0).side == "left"
    words = ["gzip stream is broken", "no NIfTI", "no NIfTI", "ends in slice", "has shape", "affine is singular"]
    for case, word in enumerate(words, 1):
        message = refusal(source, case)
        assert word in message
        assert message.startswith(f"label {case + 1}: ")  # its place in the listing: a name may be a patient's
        assert source.locate(case).endswith(f"/{case + 1}.label.nii.gz")


def test_scaled_voxels_are_refused(tmp_path):
    folder = write(tmp_path / "a", two_trees())
    image = nib.Nifti1Image(two_trees(), RAS)
    image.header.set_slope_inter(2, 1)
    nib.save(image, folder / "1.label.nii.gz")
    assert "scales its voxels" in refusal(ImageCas(str(folder), LabelOptions()))


def test_folders_are_listed_by_number_and_images_ignored(tmp_path):
    for number in (10, 2, 1000):
        write(tmp_path / "a", two_trees(), name=f"{number}.label.nii.gz")
        write(tmp_path / "a", two_trees(), name=f"{number}.img.nii.gz")
    source = ImageCas(str(tmp_path / "a"), LabelOptions())
    assert [f.name for f in source.files()] == ["2", "10", "1000"]
    assert source.fingerprint() == ImageCas(str(tmp_path / "a"), LabelOptions()).fingerprint()
    (tmp_path / "a" / "2.label.nii.gz").unlink()
    assert source.fingerprint() != ImageCas(str(tmp_path / "a"), LabelOptions()).fingerprint()


def test_a_missing_or_empty_place_is_named(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        ImageCas(str(tmp_path / "none"), LabelOptions())
    with pytest.raises(SourceError, match=r"no file is named like 12\.label\.nii\.gz"):
        ImageCas(str(tmp_path), LabelOptions())


def test_the_cache_gives_the_same_and_survives_damage(tmp_path):
    folder = write(tmp_path / "a", two_trees())
    first = ImageCas(str(folder), LabelOptions()).read(0)
    (entry,) = (tmp_path / "cache").iterdir()
    again = ImageCas(str(folder), LabelOptions()).read(0)
    assert np.array_equal(first.points, again.points)
    assert first.source_id == again.source_id
    entry.write_bytes(b"PK damaged")
    assert np.array_equal(ImageCas(str(folder), LabelOptions()).read(0).points, first.points)
    # A changed file is read anew.
    moved = two_trees()
    moved[5, 20, 10] = 0
    write(tmp_path / "a", moved)
    assert len(ImageCas(str(folder), LabelOptions()).read(0).points) == 599


def test_the_real_label(data_dir):
    """ImageCAS's example: seeds_facts B1 counts its components; its right tree is the larger one."""
    source = ImageCas(str(data_dir / "coronary_tree_3d" / "imagecas_example.label.nii.gz"), LabelOptions())
    left, right = source.read(0), source.read(1)
    assert (len(left.points), len(right.points)) == (61512, 92736)
    assert left.notes == {"components": 3, "stray_voxels": 1}
    assert left.voxel_mm == pytest.approx((0.330078125, 0.330078125, 0.5))
    # The right ostium lies to the patient's right of every part of the left tree.
    assert right.points[:, 0].min() < left.points[:, 0].min() - 30


def test_phantoms_are_the_same_for_the_same_number_and_differ_otherwise():
    source = Phantom("coronary", PhantomOptions(count=10**9, stenoses=1))
    left, right, other = source.read(0), source.read(1), source.read(2)
    assert (left.side, right.side) == ("left", "right")
    assert left.subject == right.subject != other.subject
    assert np.array_equal(left.points, source.read(0).points)
    assert left.source_id != other.source_id
    assert len(left.stenoses) == 1
    with pytest.raises(SourceError, match="there is phantom:coronary"):
        Phantom("heart", PhantomOptions())


@pytest.mark.parametrize("kind", [ImageCas, Nifti])
def test_a_tree_without_a_place_is_refused_and_the_identity_is_noted(tmp_path, kind):
    """nibabel's own fallback for such a file would mirror front and back."""
    for name, affine in (("none", None), ("identity", np.eye(4))):
        write(tmp_path / name, two_trees(), affine)
    assert "sform_code and qform_code are 0" in refusal(kind(str(tmp_path / "none"), LabelOptions()))
    assert "is the identity" in kind(str(tmp_path / "identity"), LabelOptions()).read(0).notes["affine"]
    write(tmp_path / "spaced", two_trees(), np.diag([0.9, 0.9, 0.5, 1]))
    assert "is the identity" in kind(str(tmp_path / "spaced"), LabelOptions()).read(0).notes["affine"]
    moved = RAS + np.eye(4)[:1].T * [0, 0, 0, -30]
    assert "affine" not in kind(str(write(tmp_path / "sound", two_trees(), moved)), LabelOptions()).read(0).notes


def test_labels_nearly_whole_are_whole_and_others_refused(tmp_path):
    expected = ImageCas(str(write(tmp_path / "a", two_trees())), LabelOptions()).read(0).points
    near = two_trees() * np.where(np.arange(60) % 2, 0.99999994, 1.0)[:, None, None] + 1e-8
    folder = write(tmp_path / "b", near, dtype=np.float32)
    assert np.array_equal(ImageCas(str(folder), LabelOptions()).read(0).points, expected)
    folder = write(tmp_path / "c", two_trees() * 0.5, dtype=np.float32)
    assert "holds 0.5; a label holds whole numbers" in refusal(ImageCas(str(folder), LabelOptions()))


def test_labels_in_subfolders_are_counted(tmp_path):
    write(tmp_path, two_trees())
    write(tmp_path / "1-200", two_trees())
    (why,) = ImageCas(str(tmp_path), LabelOptions()).left_over
    assert why == "label maps in subfolders, which are not looked into"

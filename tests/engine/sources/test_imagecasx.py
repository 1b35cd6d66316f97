"""ImageCAS-X as its page lays it out, with centrelines as VTK writes them; and a real centreline of VTK's own."""

import json

import nibabel as nib
import numpy as np
import pytest

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.ct.folder import CtOptions, CtVolumes
from lesionforge.engine.sources.trees.imagecasx import ImageCasX
from lesionforge.engine.sources.trees.labels import LabelOptions
from lesionforge.engine.sources.trees.vtk import PolyLines
from lesionforge.generators.types import BadCase

RAS = np.diag([0.5, 0.5, 0.75, 1.0])
SHAPE = (120, 60, 60)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def segments():
    """RAS array: a right artery of 9, a left main of 1 that forks into 2 and 3; all touch, as real ones may not."""
    out = np.zeros(SHAPE, np.uint8)
    out[80:85, 20:25, 10:50] = 9
    out[40:45, 20:25, 10:20] = 1
    out[40:45, 20:25, 20:50] = 2
    out[10:40, 20:25, 18:22] = 3
    out[45:80, 22, 12] = 14  # a thread from tree to tree
    return out


def line(a, b, n=9):
    return np.linspace(a, b, n)


def left_lines():
    """Points in LPS mm; the fork is one point of three lines, of which one runs towards the ostium."""
    trunk, lad, lcx = (
        line((42, 22, 10), (42, 22, 20)),
        line((42, 22, 49), (42, 22, 20)),
        line((42, 22, 20), (11, 22, 20)),
    )
    points = np.concatenate([trunk, lad[:-1], lcx[1:]]) * [-0.5, -0.5, 0.75]
    cells = [[*range(9)], [*range(9, 17), 8], [8, *range(17, 25)]]
    return points, cells, [1] * 9 + [2] * 8 + [3] * 8, [1] + [0] * 24


def vtk(points, cells, labels, starts, binary=True, version="5.1"):
    """What vtkPolyDataWriter writes, of one version or the other."""
    out = [
        f"# vtk DataFile Version {version}\nof DOE^JANE\n{'BINARY' if binary else 'ASCII'}\nDATASET POLYDATA\n".encode()
    ]

    def numbers(values, kind):
        flat = np.asarray(values).ravel()
        out.append(
            flat.astype(kind).tobytes() + b"\n" if binary else (" ".join(map(str, flat.tolist())) + "\n").encode()
        )

    out.append(b"POINTS %d float\n" % len(points))
    numbers(points, ">f4")
    links = [n for cell in cells for n in cell]
    if version == "5.1":
        out.append(b"METADATA\nINFORMATION 0\n\nLINES %d %d\nOFFSETS vtktypeint64\n" % (len(cells) + 1, len(links)))
        numbers([0, *np.cumsum([len(cell) for cell in cells])], ">i8")
        out.append(b"CONNECTIVITY vtktypeint64\n")
        numbers(links, ">i8")
    else:
        out.append(b"LINES %d %d\n" % (len(cells), len(links) + len(cells)))
        numbers([n for cell in cells for n in (len(cell), *cell)], ">i4")
    out.append(b"CELL_DATA %d\nSCALARS of_cells int\nLOOKUP_TABLE default\n" % len(cells))
    numbers([0] * len(cells), ">i4")
    out.append(b"POINT_DATA %d\nSCALARS start_points unsigned_char\nLOOKUP_TABLE default\n" % len(points))
    numbers(starts, "u1")
    out.append(b"FIELD FieldData 2\nsegment_name 1 %d string\n" % len(points))
    for name in labels:
        text = b"x" * name
        out.append(bytes([0xC0 | len(text)]) + text if binary else text + b"\n")
    out.append(b"\nsegment_label 1 %d int\n" % len(points))
    numbers(labels, ">i4")
    return b"".join(out)


def make(folder, array=None, affine=RAS, lines=None, name="7"):
    for sub in ("segmentations", "centerlines", "volumes", "filelist"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    label = segments() if array is None else array
    nib.save(nib.Nifti1Image(label, affine), folder / "segmentations" / f"{name}.coronary.nii.gz")
    nib.save(
        nib.Nifti1Image(np.where(label, 300, -900).astype(np.int16), affine), folder / f"volumes/{name}.img.nii.gz"
    )
    (folder / f"centerlines/{name}.coronary_left_centerline.vtk").write_bytes(
        vtk(*left_lines()) if lines is None else lines
    )
    return folder


def source(folder, **options):
    return ImageCasX(str(folder), LabelOptions(**options))


def refusal(folder):
    with pytest.raises(BadCase) as error:
        source(folder).read(0)
    assert str(error.value).startswith("label 1: ")
    assert "DOE" not in str(error.value)
    return str(error.value)


def test_sides_are_the_segments_and_centrelines_run_from_the_ostium(tmp_path):
    found = source(make(tmp_path))
    left, right = found.read(0), found.read(1)
    assert (len(left.points), len(right.points)) == ((segments() % 9 > 0).sum(), (segments() == 9).sum())
    assert left.points[:, 0].mean() > right.points[:, 0].mean() + 15  # LPS
    assert (left.notes["segments"], right.notes["segments"]) == (["LM", "LAD", "LCx", "other"], ["RCA"])
    assert right.notes["centreline"] == "is not there"
    trunk, lad, lcx = left.branches
    assert [(b.name, b.parent, len(b.points)) for b in left.branches] == [("LM", -1, 9), ("LAD", 0, 9), ("LCx", 0, 9)]
    np.testing.assert_allclose(trunk.points[0], np.array([42, 22, 10]) * [-0.5, -0.5, 0.75], atol=1e-4)
    np.testing.assert_allclose(lad.points[-1], np.array([42, 22, 49]) * [-0.5, -0.5, 0.75], atol=1e-4)
    np.testing.assert_allclose(lcx.points[-1], np.array([11, 22, 20]) * [-0.5, -0.5, 0.75], atol=1e-4)
    assert np.median(lad.radii) == pytest.approx(2.5 * 0.5, abs=0.3)  # five voxels across
    assert "ImageCAS-X labels" in found.licence
    assert "0.42" in found.licence
    told = json.dumps([dict(left.notes), left.source_id, found.fingerprint()])
    assert "DOE" not in told


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("version", ["5.1", "3.0"])
def test_every_way_that_vtk_writes_lines_is_one(binary, version):
    points, cells, labels, starts = left_lines()
    read = PolyLines.read(vtk(points, cells, labels, starts, binary, version))
    np.testing.assert_allclose(read.points, points, atol=1e-4)
    assert [cell.tolist() for cell in read.lines] == cells
    assert (read.marks["segment_label"].tolist(), read.marks["start_points"].tolist()) == (labels, starts)
    assert "of_cells" not in read.marks


def test_a_real_centreline_of_vtk(data_dir):
    read = PolyLines.read((data_dir / "coronary_tree_3d" / "721A_Centreline.vtk").read_bytes())
    assert (len(read.points), read.lines[0].tolist()[:3]) == (357, [0, 1, 2])
    steps = [np.linalg.norm(np.diff(read.points[line], axis=0), axis=1).max() for line in read.lines]
    assert max(steps) < 2  # mm: the points of a line follow each other


def test_broken_and_lying_vtk_files_are_reasons(tmp_path):
    good = vtk(*left_lines())
    for data in (b"", b"<VTKFile/>", good[:200], good.replace(b"POINTS 25", b"POINTS 99999999999"),
                 good.replace(b"POLYDATA", b"UNSTRUCTURED_GRID"), good.replace(b"BINARY", b"NEITHER"),
                 good.replace(b"LINES 4 27", b"LINES 4 26"), good.replace(b"float", b"quark")):  # fmt: skip
        assert "VTK" in refusal(make(tmp_path, lines=data))
    points, cells, labels, starts = left_lines()
    assert "marked in start_points" in refusal(make(tmp_path, lines=vtk(points, cells, labels, [0] * 25)))
    assert "VTK" in refusal(make(tmp_path, lines=vtk(points, [[0, 999]], labels, starts)))
    assert "VTK" in refusal(make(tmp_path, lines=vtk(points * np.nan, cells, labels, starts)))


def test_a_centreline_in_ras_and_a_heart_the_wrong_way_round_are_refused(tmp_path):
    points, *rest = left_lines()
    assert "it is to be in LPS mm" in refusal(make(tmp_path / "a", lines=vtk(points * [-1, -1, 1], *rest)))
    assert "to the right of the right one" in refusal(make(tmp_path / "b", affine=np.diag([-0.5, 0.5, 0.75, 1])))
    wrong = segments()
    wrong[0, 0, 0] = 15
    assert "holds 15 in 1 voxels; ImageCAS-X has segments 1 to 14" in refusal(make(tmp_path / "c", wrong))
    assert "sform_code and qform_code are 0" in refusal(make(tmp_path / "d", affine=None))


def test_what_the_set_excludes_and_centrelines_alone_are_told(tmp_path):
    make(tmp_path)
    make(tmp_path, name="12")
    (tmp_path / "filelist" / "exclude.txt").write_text("12\n")
    (tmp_path / "centerlines" / "3.coronary_right_centerline.vtk").write_bytes(b"")
    found = source(tmp_path)
    assert found.cases == 2
    assert {why: len(paths) for why, paths in found.left_over.items()} == {
        "label maps that exclude.txt names": 1,
        "centrelines without a label map": 1,
    }
    with pytest.raises(SourceError, match=r"segmentations/12\.coronary"):
        source(tmp_path / "volumes")


def test_its_volumes_are_read_by_ct(tmp_path):
    found = CtVolumes(str(make(tmp_path)), CtOptions())
    assert (found.layout, found.cases, found.left_over) == ("imagecasx", 1, {})
    volume = found.read(0)
    assert set(volume.legend.values()) == {"coronary_left", "coronary_right"}
    right = next(value for value, name in volume.legend.items() if name == "coronary_right")
    assert (volume.labels == right).sum() == (segments() == 9).sum()
    assert "ImageCAS-X" in found.licence

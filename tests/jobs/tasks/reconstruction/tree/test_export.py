"""The files say what the tree is, as others read them; those that we read are a source of trees again."""

import json
import shutil
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial import cKDTree

from lesionforge.engine.sources.trees.imagecasx import ImageCasX
from lesionforge.engine.sources.trees.labels import LabelOptions, Nifti
from lesionforge.engine.sources.trees.vtk import PolyLines
from lesionforge.jobs.tasks.reconstruction.tree import export


@pytest.fixture(scope="module")
def files(known, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree") / "files"
    return {path.name: path for path in export.write(folder, known.tree, known.volume, known.pair)}


def test_nifti_lies_where_the_tree_does_in_ras(files, known):
    line = np.concatenate([one.points for one in known.tree.branches]) * (-1, -1, 1)
    image = nib.load(files["tree.nii.gz"])
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    voxels = nib.affines.apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj)))
    assert cKDTree(voxels).query(line)[0].max() < 0.4
    assert cKDTree(line).query(voxels)[0].max() < max(one.radii.max() for one in known.tree.branches) + 0.4
    image = nib.load(files["likelihood.nii.gz"])
    assert np.array_equal(np.asarray(image.dataobj), known.volume)
    assert nib.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2) == pytest.approx(0, abs=1e-4)
    assert nib.affines.voxel_sizes(image.affine) == pytest.approx(known.pair.grid.spacing_mm)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_stl_is_closed_faces_outwards_and_holds_the_lumen(files):
    data = files["tree.stl"].read_bytes()
    (count,) = np.frombuffer(data, "<u4", 1, 80)
    assert len(data) == 84 + 50 * count
    assert not data.startswith(b"solid")
    rows = np.frombuffer(data, np.dtype([("n", "<f4", 3), ("p", "<f4", (3, 3)), ("x", "<u2")]), count, 84)
    corners = rows["p"].astype(np.float64)
    _, number = np.unique(rows["p"].reshape(-1, 3), axis=0, return_inverse=True)
    triangles = number.reshape(-1, 3)
    edges = np.concatenate([triangles[:, [a, (a + 1) % 3]] for a in range(3)])
    there, back = (np.sort(one @ (1, len(corners) * 3)) for one in (edges, edges[:, ::-1]))
    assert np.array_equal(there, back)  # each edge once in either direction
    inside = (
        np.einsum("ni,ni->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    )  # divergence theorem
    image = nib.load(files["tree.nii.gz"])
    assert inside == pytest.approx(np.asarray(image.dataobj).sum() * 0.4**3, rel=0.05)
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    big = np.linalg.norm(flat, axis=1) > 1e-3
    assert np.einsum("ni,ni->n", flat, rows["n"])[big] == pytest.approx(np.linalg.norm(flat, axis=1)[big], rel=1e-3)


def test_swc_is_one_tree_from_the_ostium(files, known):
    rows = np.loadtxt(files["tree.swc"], comments="#")
    assert rows.shape[1] == 7
    numbers, parents = rows[:, 0].astype(int), rows[:, 6].astype(int)
    assert numbers.tolist() == list(range(1, len(rows) + 1))
    assert parents[0] == -1
    assert (parents[1:] >= 1).all()  # one root
    assert (parents[1:] < numbers[1:]).all()  # and no loop
    assert rows[0, 2:6] == pytest.approx([*known.tree.branches[0].points[0], known.tree.branches[0].radii[0]], abs=1e-4)
    length = np.linalg.norm(rows[1:, 2:5] - rows[parents[1:] - 1, 2:5], axis=1)
    assert length.max() < 1


def test_both_vtk_files_hold_the_centrelines_and_what_is_known_along_them(files, known):
    legacy = PolyLines.read(files["tree.vtk"].read_bytes())
    piece = ElementTree.parse(files["tree.vtp"]).getroot().find("PolyData/Piece")

    def array(where, name):
        (found,) = [one for one in piece.find(where) if one.get("Name") == name]
        return np.array(found.text.split(), float)

    points = array("Points", "points").reshape(-1, 3)
    assert np.array_equal(points, legacy.points)
    lines = np.split(array("Lines", "connectivity").astype(int), array("Lines", "offsets").astype(int)[:-1])
    assert len(lines) == len(known.tree.branches) == int(piece.get("NumberOfLines"))
    for own, its, branch in zip(lines, legacy.lines, known.tree.branches, strict=True):
        assert np.array_equal(own, its)
        assert points[own] == pytest.approx(branch.points, abs=1e-4)
        assert array("PointData", "radius_mm")[own[1:]] == pytest.approx(branch.radii[1:], abs=1e-4)
    assert array("PointData", "percent_ds")[lines[0]] == pytest.approx(known.tree.percent_ds(0), abs=1e-4)
    assert np.array_equal(array("PointData", "generation"), array("PointData", "branch") > 0)
    assert legacy.marks["start_points"].sum() == legacy.marks["start_points"][0] == 1


def test_the_files_are_a_source_of_trees(files, known, tmp_path):
    image = nib.load(files["tree.nii.gz"])
    (tmp_path / "segmentations").mkdir()
    (tmp_path / "centerlines").mkdir()
    marked = nib.Nifti1Image(np.asarray(image.dataobj) * np.uint8(9), image.affine, image.header)  # 9: RCA
    nib.save(marked, tmp_path / "segmentations" / "1.coronary.nii.gz")
    shutil.copy(files["tree.vtk"], tmp_path / "centerlines" / "1.coronary_right_centerline.vtk")
    tree = ImageCasX(str(tmp_path), LabelOptions(sides=["right"])).read(0)
    points = np.concatenate([one.points for one in tree.branches])
    own = np.concatenate([one.points for one in known.tree.branches])
    assert cKDTree(points).query(own)[0].max() < 1e-3
    assert np.linalg.norm(tree.branches[0].points[0] - known.tree.branches[0].points[0]) < 1e-3
    assert cKDTree(tree.points).query(own)[0].max() < 0.4
    alone = Nifti(str(files["tree.nii.gz"]), LabelOptions(sides=["right"])).read(0)
    assert np.array_equal(np.sort(alone.points, axis=0), np.sort(tree.points, axis=0))


def test_the_numbers_name_branches_and_narrowings(files, known):
    body = json.loads(files["tree.json"].read_text())
    assert [one["name"] for one in body["branches"]] == [one.name for one in known.tree.branches]
    assert body["branches"][1]["parent"] == "main"
    assert body["narrowings"][0]["percent_ds"] == pytest.approx(known.tree.narrowings[0].percent_ds, abs=0.05)
    assert body["narrowings"][0]["uncertainty"] > 0
    assert body["narrowings"][0]["views"] == list(known.tree.narrowings[0].views)
    assert [one["why"] for one in body["not_assessable"]] == [one.why for one in known.tree.unassessed]
    assert body["unexplained"] == pytest.approx(known.tree.unexplained, abs=1e-6)
    assert "LPS" in body["axes"]

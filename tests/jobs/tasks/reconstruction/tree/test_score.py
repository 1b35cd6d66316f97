"""The tree's scores beside the volume's."""

import math
from dataclasses import replace

import numpy as np

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.occupancy import occupied, shares
from lesionforge.generators.phantom.tree.voxels import voxelise
from lesionforge.jobs.tasks.reconstruction.metrics import volume_scores
from lesionforge.jobs.tasks.reconstruction.pairs import papers
from lesionforge.jobs.tasks.reconstruction.tree.score import tree_scores
from tests.jobs.tasks.reconstruction.tree.conftest import EDGE, VOXEL_MM


def test_a_blurred_volume_in_pieces_scores_lower_than_the_tree_that_is_grown_of_it(healthy):
    rng = np.random.default_rng(3)
    cells = np.argwhere(healthy.pair.hull)
    volume = np.zeros_like(healthy.volume)
    volume[tuple(cells.T)] = rng.uniform(0, 0.45, len(cells))  # the network doubts
    sure = healthy.pair.target & (rng.random(volume.shape) < 0.7)
    volume[sure] = 0.8
    scores = tree_scores(healthy.pair, volume, 0.5)
    assert set(scores) == {"tree_dsc", "tree_chamfer", "tree_o2", "tree_cldice", "tree_pieces"}
    cut = volume_scores(healthy.pair.target, volume >= 0.5, healthy.pair.grid.spacing_mm)
    assert scores["tree_pieces"] == 1 < cut["pieces"]
    assert scores["tree_cldice"] > cut["cldice"]
    assert scores["tree_dsc"] > cut["dsc"] - 0.02


def test_a_tree_is_held_against_the_papers_target_by_the_papers_rule(healthy):
    fine = Grid((100,) * 3, healthy.pair.grid.spacing_mm * EDGE / 100)
    filled = occupied(shares(voxelise(healthy.branches, VOXEL_MM).astype(float), (VOXEL_MM,) * 3, fine)[0])
    pair = replace(healthy.pair, paper=papers(filled, EDGE), full=100)
    assert pair.target.sum() > 1.5 * healthy.pair.target.sum()
    assert tree_scores(pair, healthy.volume, 0.5)["tree_dsc"] > 0.85


def test_where_no_tree_grows_there_is_no_score(healthy):
    assert all(math.isnan(value) for value in tree_scores(healthy.pair, 0 * healthy.volume, 0.5).values())

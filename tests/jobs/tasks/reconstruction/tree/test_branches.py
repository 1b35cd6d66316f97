"""Which vessel goes on at a fork, and what the branches are called."""

import numpy as np

from lesionforge.jobs.tasks.reconstruction.tree.branches import chains, names


def fork(side_radius, straight=True):
    """A trunk of ten cells, then two vessels: cells 10 to 19 straight on, 20 to 29 at a right angle."""
    on = [(x, 0, 0) for x in range(20)]
    off = [(9, y, 0) for y in range(1, 11)]
    places = np.array(on + off)
    radii = np.array([2.0] * 10 + [1.0] * 10 + [side_radius] * 10)
    one, two = np.arange(20), np.concatenate([[9], np.arange(20, 30)])
    other = np.concatenate([np.arange(10), np.arange(20, 30)])
    paths = [one, two] if straight else [other, np.concatenate([[9], np.arange(10, 20)])]
    return chains(paths, places, radii)


def test_of_two_alike_the_straight_one_goes_on_whichever_path_was_first():
    for straight in (True, False):
        main, side = fork(1.0, straight)
        assert main.cells.tolist() == list(range(20))
        assert side.cells.tolist() == [9, *range(20, 30)]
        assert (main.parent, side.parent) == (-1, 0)


def test_a_much_larger_vessel_goes_on_although_it_bends():
    main, side = fork(2.0)
    assert main.cells.tolist() == [*range(10), *range(20, 30)]
    assert side.cells.tolist() == list(range(9, 20))


def test_branches_are_called_by_their_place():
    assert names([-1, 0, 0, 1, 1, 3]) == ["main", "1", "2", "1.1", "1.2", "1.1.1"]

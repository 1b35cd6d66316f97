"""The centreline graph against drawn shapes, scipy's distance transform and real masks."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.vessel.graph import arc_length, resample, smooth, trace
from lesionforge.generators.vessel.skeleton import chains, wall_distance
from tests.generators.vessel.tubes import Frame, lesion, line, render


def drawn(*strokes: tuple[tuple[float, float], tuple[float, float], float], size: int = 160) -> np.ndarray:
    """A mask of straight strokes: (x, y) from, (x, y) to, width."""
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    mask = np.zeros((size, size), bool)
    for a, b, width in strokes:
        a, b = np.array(a), np.array(b)
        way = (b - a) / np.linalg.norm(b - a)
        along = np.clip((x - a[0]) * way[0] + (y - a[1]) * way[1], 0, np.linalg.norm(b - a))
        mask |= np.hypot(x - a[0] - along * way[0], y - a[1] - along * way[1]) < width / 2
    return mask


@pytest.mark.parametrize("angle", [0, 17, 45, 71, 90, 133])
@pytest.mark.parametrize("width", [4, 9, 16])
def test_a_straight_vessel_is_one_segment_of_the_right_place_and_width(angle: int, width: int) -> None:
    centre = line(angle, length=100)
    tube = render(centre, lesion(width, 0, 1), None, mu=0.02)
    (segment,) = trace(tube.mask).segments
    assert (segment.start, segment.end) == ("end", "end")
    inner = slice(width, -width)
    normal = np.array([-np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
    off = (segment.points[inner] - 96) @ normal
    assert np.abs(off).max() < 0.75
    assert abs(off.mean()) < 0.5
    assert abs(2 * segment.radii[inner].mean() - width) < 1.01  # whole pixels where the wall follows the grid
    assert np.abs(np.diff(arc_length(segment.points)) - 1).max() < 0.1


def test_widths_are_right_on_average_over_angles() -> None:
    rng = np.random.default_rng(0)
    off = []
    for _ in range(24):
        way = 60 * np.array([np.cos(a := rng.uniform(0, np.pi)), np.sin(a)])
        middle, width = rng.uniform(79, 81, 2), rng.uniform(4, 20)
        (segment,) = trace(drawn((tuple(middle - way), tuple(middle + way), width))).segments
        off.append(2 * np.median(segment.radii) - width)
    assert abs(np.mean(off)) < 0.35
    assert np.std(off) < 0.4


def test_radii_are_the_distance_transform_at_the_pixels() -> None:
    mask = np.random.default_rng(0).random((40, 60)) < 0.9
    rows, cols = np.nonzero(np.ones_like(mask))
    want = ndimage.distance_transform_edt(mask)[rows, cols]
    got = wall_distance(mask.astype(np.uint8), np.column_stack([cols, rows]).astype(float))
    assert np.abs(got - want).max() < 1e-9


def test_a_fork_has_three_segments_and_one_place() -> None:
    graph = trace(drawn(((20, 80), (80, 80), 10), ((80, 80), (130, 50), 8), ((80, 80), (130, 115), 6)))
    assert len(graph.segments) == 3
    assert len(graph.forks) == 1
    assert np.linalg.norm(graph.forks[0] - [80, 80]) < 5
    assert (
        sorted(s.start + s.end for s in graph.segments).count("endfork")
        + sorted(s.start + s.end for s in graph.segments).count("forkend")
        == 3
    )


@pytest.mark.parametrize("angle", [40, 60, 90])
def test_crossing_vessels_run_on_and_the_crossing_is_listed(angle: float) -> None:
    turn = np.deg2rad(angle)
    way = 60 * np.array([np.cos(turn), np.sin(turn)])
    middle = np.array([80.0, 80.0])
    graph = trace(drawn(((20, 80), (140, 80), 8), (tuple(middle - way), tuple(middle + way), 6)))
    assert len(graph.segments) == 2
    assert [s.start + s.end for s in graph.segments] == ["endend"] * 2
    assert len(graph.forks) == 1
    assert np.linalg.norm(graph.forks[0] - middle) < 4
    assert min(len(s.points) for s in graph.segments) > 100


def test_a_ragged_wall_leaves_no_twigs() -> None:
    rng = np.random.default_rng(3)
    mask = drawn(((20, 40), (140, 120), 14))
    wall = mask ^ ndimage.binary_erosion(mask)
    mask &= ~(wall & (rng.random(mask.shape) < 0.4))
    mask |= drawn(((80, 80), (83.5, 73), 3))  # a bump that hardly leaves the vessel
    assert len(trace(mask).segments) == 1


def test_a_seam_of_one_pixel_parts_nothing_but_a_wide_gap_does() -> None:
    mask = drawn(((10, 80), (150, 80), 10))
    mask[:, 70] = False
    assert len(trace(mask).segments) == 1
    mask[:, 70:76] = False
    assert len(trace(mask).segments) == 2


def test_a_vessel_that_leaves_the_picture_ends_at_its_border() -> None:
    (segment,) = trace(drawn(((-20, 80), (100, 80), 10))).segments
    assert {segment.start, segment.end} == {"border", "end"}


def test_a_ring_is_followed_once_round() -> None:
    y, x = np.mgrid[:120, :120]
    r = np.hypot(x - 60, y - 60)
    (segment,) = trace((r > 36) & (r < 44)).segments
    assert arc_length(segment.points)[-1] == pytest.approx(2 * np.pi * 40, rel=0.05)


def test_nothing_comes_of_an_empty_mask_and_a_volume_is_refused() -> None:
    graph = trace(np.zeros((50, 50), bool))
    assert graph.segments == ()
    assert graph.forks.shape == (0, 2)
    with pytest.raises(ValueError, match="3 dimensions"):
        trace(np.zeros((3, 50, 50), bool))


def test_every_skeleton_pixel_is_in_one_chain_or_a_node() -> None:
    skeleton = np.zeros((30, 30), np.uint8)
    skeleton[15, 3:27] = 1
    skeleton[3:15, 14] = 1
    pixels, first, ties, nodes = chains(skeleton)
    assert len(ties) == 3
    assert len(np.unique(pixels, axis=0)) == len(pixels) == first[-1]
    assert sum(np.bincount(ties.ravel(), minlength=len(nodes)) == 3) == 1


def test_smoothing_keeps_the_ends_and_a_straight_line_and_takes_out_stairs() -> None:
    stairs = np.column_stack([np.arange(60), np.round(np.arange(60) * 0.3)]).astype(float)
    flat = smooth(stairs)
    assert np.allclose(flat[[0, -1]], stairs[[0, -1]])
    slope = np.polyfit(flat[:, 0], flat[:, 1], 1)
    assert np.abs(np.polyval(slope, flat[:, 0]) - flat[:, 1])[5:-5].max() < 0.2
    straight = resample(np.array([[0.0, 0.0], [30.0, 40.0]]))
    assert np.allclose(straight, np.linspace(0, 1, 51)[:, None] * [30, 40])
    assert np.allclose(smooth(straight), straight, atol=1e-6)


def test_real_masks_need_no_hand(frames: list[Frame]) -> None:
    for frame in frames:
        graph = trace(frame.mask)
        assert graph.segments, frame.name
        closed = ndimage.binary_closing(frame.mask, np.ones((3, 3)))
        for segment in graph.segments:
            assert len(segment.points) == len(segment.radii) >= 6
            cols, rows = np.rint(segment.points).astype(int).T
            assert closed[rows, cols].mean() > 0.8, frame.name
        length = sum(arc_length(s.points)[-1] for s in graph.segments)
        area = 2 * sum(float(s.radii.mean()) * arc_length(s.points)[-1] for s in graph.segments)
        assert 0.75 < area / frame.mask.sum() < 1.3, (frame.name, length)  # the segments cover the mask

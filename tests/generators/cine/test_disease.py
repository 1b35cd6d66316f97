"""Lesions: as severe as asked for, to the digit, inside the healthy wall, where lesions are."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest

from lesionforge.generators.cine.anatomy import vessels_of
from lesionforge.generators.cine.disease import Request, _bend, diseased
from lesionforge.generators.types import Rejected, severity_class
from tests.generators.cine.conftest import phantom, rng


@pytest.mark.parametrize("percent", [30.0, 49.9, 50.0, 72.5, 95.0])
def test_the_minimum_is_as_narrow_as_asked_for_and_nothing_else_is_narrowed(left, percent):
    found = diseased(left, [Request(percent)], rng(f"{percent}"), diffuse=0)
    (lesion,) = found.lesions
    part = np.s_[lesion.first : lesion.last + 1]
    ratio = found.radii[part] / left.healthy[part]
    assert lesion.first + np.argmin(ratio) == lesion.minimum
    assert 100 * (1 - ratio.min()) == pytest.approx(percent, abs=1e-3)
    assert lesion.reference_mm == pytest.approx(2 * left.healthy[lesion.minimum], rel=1e-8)
    assert 100 * (1 - lesion.mld_mm / lesion.reference_mm) == pytest.approx(percent, abs=1e-6)
    assert severity_class(lesion.percent_ds) == severity_class(percent)
    assert 3 <= lesion.length_mm <= 20.5
    assert len(set(found.branch[part].tolist())) == 1
    rest = np.ones(len(ratio := found.radii), bool)
    rest[part] = False
    assert (ratio[rest] == left.radii[rest]).all()
    assert 1 - (found.radii / left.healthy)[lesion.first] < 0.02 * percent / 100 + 0.05  # no step at its ends


def test_an_eccentric_lumen_stays_within_the_healthy_wall(left):
    for n in range(12):
        found = diseased(left, [Request(80.0)], rng(f"eccentric {n}"), diffuse=0)
        (lesion,) = found.lesions
        moved = np.sqrt(((found.points - left.points) ** 2).sum(1))
        part = np.s_[lesion.first : lesion.last + 1]
        assert (moved[part] <= left.healthy[part] - found.radii[part] + 2e-3).all()
        plaque = left.healthy[lesion.minimum] - found.radii[lesion.minimum]
        assert moved[lesion.minimum] == pytest.approx(lesion.eccentric * plaque, abs=2e-3)
        first = found.starts[1:-1]
        assert (found.points[first] == found.points[found.parent[first]]).all()  # branches stay on their parents


def test_uneven_walls_are_no_stenoses(left):
    found = diseased(left, [], rng("diffuse"), diffuse=1.0)
    assert len(found.lesions) > 2
    assert {n.kind for n in found.lesions} == {"diffuse"}
    assert max(n.percent_ds for n in found.lesions) < 20
    assert (found.radii / left.healthy).min() > 0.8


def test_an_occlusion_is_closed_and_nothing_asked_for_lies_behind_it(left):
    for n in range(8):
        found = diseased(left, [Request(60.0), Request(100.0, 12.0), Request(40.0)], rng(f"closed {n}"), diffuse=0)
        (closed,) = (m for m in found.lesions if m.kind == "occlusion")
        assert found.radii[closed.minimum] == 0
        assert closed.mld_mm == 0
        assert closed.segment != "5"
        assert closed.length_mm == 12
        assert (found.radii[closed.first : closed.last + 1] == 0).sum() > 8
        behind = found.downstream(closed.minimum)
        assert not any(behind[m.minimum] for m in found.lesions if m is not closed)


def test_an_occlusion_at_the_ostium_leaves_room_for_what_else_is_asked_for():
    vessels = vessels_of(phantom("right"), rng("right"))
    wanted = [Request(100.0, 15.0), Request(80.0, 15.0), Request(60.0, 15.0), Request(30.0, 15.0)]
    full = 0
    for n in range(12):
        with contextlib.suppress(Rejected):  # the engine draws again
            assert len(diseased(vessels, wanted, rng(f"room {n}"), diffuse=0).lesions) == 4
            full += 1
    assert full >= 10


def test_lesions_are_where_they_are_asked_to_be_and_apart(left):
    wanted = [Request(55.0, 8.0, "LAD"), Request(75.0, 8.0, "7"), Request(65.0, 8.0, "LCX"), Request(35.0, 6.0, "5")]
    found = diseased(left, wanted, rng("places"), diffuse=0.5)
    places = {n.percent_ds: (n.segment, n.artery) for n in found.lesions if n.kind == "focal"}
    assert places[75][0] == "7"
    assert places[55][1] == "LAD"
    assert places[65][1] == "LCX"
    assert places[35] == ("5", "LM")
    spans = sorted((n.first, n.last) for n in found.lesions)
    assert all(b > a for (_, a), (b, _) in itertools.pairwise(spans))
    with pytest.raises(Rejected, match="no room for a lesion of 70 % in 5"):
        diseased(left, [Request(70.0, 8.0, "5")] * 4, rng("full"))
    with pytest.raises(ValueError, match="place is 'LAO'"):
        Request(70.0, place="LAO")


def test_lesions_prefer_forks_bends_and_proximal_vessels():
    vessels = vessels_of(phantom("left", 3), rng("prefer"))
    could = (vessels.segment >= 0) & (2 * vessels.healthy >= 1.9)
    bend = _bend(vessels)
    at = [diseased(vessels, [Request(60.0, 6.0)], rng(f"prefer {n}"), diffuse=0).lesions[0].minimum for n in range(60)]
    assert bend[at].mean() > 1.1 * bend[could].mean()
    assert vessels.along[at].mean() < 0.9 * vessels.along[could].mean()

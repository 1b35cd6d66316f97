"""The short form of ``make fuzz``, and that the campaign notices what it is there to notice."""

import json

import pytest

from tests.fuzz.campaign import BAD, Campaign, Limits, Process
from tests.fuzz.kinds import KINDS
from tests.fuzz.kinds.traps import TRAPS


def test_spoiled_inputs_end_as_samples_as_reasons_or_as_one_line():
    campaign = Campaign(inputs=300, seed=7)
    campaign.run()
    assert campaign.sound, campaign.notable
    assert campaign.total("generic") == 0, campaign.notable
    for kind in KINDS:
        assert sum(count for (k, _), count in campaign.counts.items() if k == kind) > 2
    assert all(campaign.total(end) > 20 for end in ("read", "quarantined", "error"))


def test_the_same_seed_makes_the_same_inputs():
    assert list(Campaign(50, seed=3).deal()) == list(Campaign(50, seed=3).deal()) != list(Campaign(50, seed=4).deal())


@pytest.fixture(scope="module")
def process():
    with Process(0, Limits(cpu_seconds=2, wall_seconds=10)) as process:
        yield process


@pytest.mark.parametrize(("number", "end"), list(enumerate(TRAPS)))
def test_the_campaign_notices(process, number, end):
    (process._folder / "trap").write_text(str(number))
    assert process.attempt("traps", number)["end"] == end


def test_one_bad_end_fails_the_campaign():
    campaign = Campaign(2, kinds=("nifti",))
    campaign._count({"kind": "nifti", "end": "read"})
    assert not campaign.sound  # one input is missing
    campaign._count({"kind": "nifti", "end": "quarantined"})
    assert campaign.sound
    for end in BAD:
        spoilt = Campaign(1, kinds=("nifti",))
        spoilt._count({"kind": "nifti", "end": end})
        assert not spoilt.sound
    assert json.dumps(campaign.figures())

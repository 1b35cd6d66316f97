"""Published sizes, and presets that refuse what they do not know."""

import pytest

torch = pytest.importorskip("torch")

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.tasks.segmentation.segmenter import Segmenter, build  # noqa: E402
from lesionforge.jobs.tasks.segmentation.settings import NETWORKS, PRESETS, settings  # noqa: E402
from lesionforge.jobs.tasks.segmentation.task import Segmentation  # noqa: E402


@pytest.mark.parametrize(("network", "count"), [("unet", 4_807_482), ("dynunet", 16_538_563)])
def test_the_networks_are_difftumor_s(network, count):
    """Background, organ, tumour there; background and two plaques here: as many channels."""
    assert Segmenter(settings(network, "paper"), "ccta").parameters == count


@pytest.mark.parametrize("network", NETWORKS)
def test_logits_for_every_class_on_the_image_s_grid(network):
    net = build(settings(network, "tiny"), 3)
    with torch.no_grad():
        assert net(torch.zeros(2, 1, 32, 16, 24)).shape == (2, 4, 32, 16, 24)


def test_the_paper_s_training():
    for network in NETWORKS:
        s = PRESETS[network, "paper"]
        assert (s.patch, s.batch, s.rate, s.decay, s.overlap) == (96, 12, 4e-4, 1e-5, 0.75)


def test_what_is_no_setting_is_named():
    with pytest.raises(UsageError, match="no such setting; there are domain, preset, tolerance_mm, channels, patch"):
        Segmentation().changed("unet", {"epochs": 3})
    with pytest.raises(UsageError, match="give unet or dynunet, and the preset paper or tiny"):
        settings("vnet", "tiny")
    with pytest.raises(UsageError, match="patch is 36: 4 levels need a multiple of 8"):
        Segmentation().changed("unet", {"patch": 36})

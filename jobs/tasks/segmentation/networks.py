"""The two networks of the papers, MONAI's."""

from __future__ import annotations

from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.unet import UNet
from torch import nn

from lesionforge.jobs.tasks.segmentation.settings import Settings


def build(settings: Settings, classes: int) -> nn.Module:
    """A fresh network: (n, 1, i, j, k) in, logits (n, 1 + classes, i, j, k) out.

    At the published sizes and two classes these are DiffTumor's: 4,807,482 and 16,538,563 parameters.
    """
    levels, out = len(settings.channels), 1 + classes
    if settings.network == "unet":
        return UNet(3, 1, out, settings.channels, [2] * (levels - 1), num_res_units=2)
    kernels, strides = [3] * levels, [1] + [2] * (levels - 1)
    return DynUNet(3, 1, out, kernels, strides, strides[1:], filters=settings.channels, norm_name="instance")

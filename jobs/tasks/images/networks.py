"""Networks that make a vector of a frame, and what they say of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.images.pictures import Contrast, Grey

NETWORKS = ("small", "resnet18", "resnet50", "inception")
SMALLEST = {"inception": 75}  # pixels a side that it can take


class Residual(nn.Module):  # type: ignore[misc]
    """Halves the sides, then two convolutions beside the identity."""

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        self.down = _conv(inside, width, 2)
        self.first = _conv(width, width, 1)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Float (n, inside, s, s) -> (n, width, s/2, s/2)."""
        x = self.down(x)
        return F.relu(x + self.second(self.first(x)))


class Small(nn.Module):  # type: ignore[misc]
    """For one CPU core: .55 M parameters. Mean and maximum over the picture: how much there is, and whether."""

    width = 256

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(Contrast.channels, 16, 3, 2, 1), nn.ReLU(inplace=True),
            Residual(16, 32), Residual(32, 64), Residual(64, 96), Residual(96, 128),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Float (n, 3, s, s) -> (n, 256)."""
        x = self.stages(x)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class Classifier(nn.Module):  # type: ignore[misc]
    """Grey frames in, a logit a class out.

    Args:
        network: one of ``NETWORKS``.
        classes: logits.
        dropout: before the last layer.
    """

    def __init__(self, network: str, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.look: nn.Module = Contrast() if network == "small" else Grey()
        self.body, self.width = _body(network)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.width, classes)

    def features(self, grey: Tensor) -> Tensor:
        """Float (n, s, s) in 0..255 -> (n, width)."""
        out: Tensor = self.body(self.look(grey).contiguous(memory_format=torch.channels_last))
        return out

    def forward(self, grey: Tensor) -> Tensor:
        """Float (n, s, s) in 0..255 -> logits (n, classes)."""
        out: Tensor = self.head(self.dropout(self.features(grey)))
        return out

    def last(self) -> Iterator[nn.Parameter]:
        """Parameters of the last stage of torchvision's networks and the head: what learns first."""
        for name, part in self.body.named_children():
            if name in ("layer4", "Mixed_7c"):
                yield from part.parameters()
        yield from self.head.parameters()


def _conv(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


def _body(network: str) -> tuple[nn.Module, int]:
    """A fresh one, and how long its vectors are."""
    if network == "small":
        return Small(), Small.width
    from torchvision import models  # type: ignore[import-untyped]

    if network == "inception":
        made: Any = models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    else:
        made = {"resnet18": models.resnet18, "resnet50": models.resnet50}[network](weights=None)
    width = int(made.fc.in_features)
    made.fc = nn.Identity()
    return made, width


def begin(classifier: Classifier, file: Path) -> None:
    """Put torchvision's weights of the same network (learnt on ImageNet, say) into the body; the head stays fresh.

    Args:
        classifier: of a network of torchvision.
        file: a state dict, ``.pth`` or ``.safetensors``.

    Raises:
        UsageError: it is none of this network.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        kept = {k: v for k, v in state.items() if not k.startswith(("fc.", "AuxLogits."))}
        classifier.body.load_state_dict(kept)
    except Exception as error:  # of what is no such file, torch raises whatever its reader met
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"init {file}: no weights of this network ({why}): give torchvision's own state dict"
        ) from None


def half(device: torch.device) -> torch.autocast:
    """bf16 where it is fast: on a GPU, and on a CPU that multiplies it in hardware."""
    fast = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)

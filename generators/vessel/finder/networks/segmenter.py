"""The network (a U-Net, Ronneberger et al. 2015), .87 M weights: as it learns, and in whole numbers as it finds.

Found in floats, a pixel at a threshold would fall to one side on one CPU and to the other on the next: sums in
another order end in other bits. So the trained network is rewritten: activations are 0 ... 127, weights
-127 ... 127, and every sum stays below 2^24, where float32 knows all whole numbers. Whatever adds them up, in
whatever order, has the same bits (promise P1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lesionforge.generators.vessel.finder.normalise import STEPS

CLASSES = 3  # background, vessel, catheter
EDGE = 32  # frames are whole multiples of it
LEVELS, WEIGHTS, EXACT = 127, 127, 2**24  # of activations, of weights, of sums in float32
CALIBRATED = 0.9995  # share of an activation's values below its largest level
# name: channels in and out, step
LAYERS: Mapping[str, tuple[int, int, int]] = {
    "half1": (4, 24, 1),
    "half2": (24, 24, 1),
    "quarter1": (24, 48, 2),
    "quarter2": (48, 48, 1),
    "eighth1": (48, 64, 2),
    "eighth2": (64, 64, 1),
    "sixteenth1": (64, 96, 2),
    "sixteenth2": (96, 96, 1),
    "least1": (96, 128, 2),
    "least2": (128, 128, 1),
    "sixteenth3": (128 + 96, 96, 1),
    "eighth3": (96 + 64, 64, 1),
    "quarter3": (64 + 48, 32, 1),
    "half3": (32 + 24, 24, 1),
    "classes": (24, 4 * CLASSES, 1),  # of each of the four pixels of a half-size cell
}
LAST = "classes"
Layer = Callable[[str, Tensor], Tensor]


def through(x: Tensor, layer: Layer) -> Tensor:
    """From (n, 1, rows, cols) to (n, 3, rows, cols): how the layers hang together, whatever a layer is."""
    half = layer("half2", layer("half1", F.pixel_unshuffle(x, 2)))
    quarter = layer("quarter2", layer("quarter1", half))
    eighth = layer("eighth2", layer("eighth1", quarter))
    sixteenth = layer("sixteenth2", layer("sixteenth1", eighth))
    out = layer("least2", layer("least1", sixteenth))
    for name, beside in (("sixteenth3", sixteenth), ("eighth3", eighth), ("quarter3", quarter), ("half3", half)):
        out = layer(name, torch.cat([F.interpolate(out, scale_factor=2.0), beside], 1))
    return F.pixel_shuffle(layer(LAST, out), 2)


class Learning(nn.Module):  # type: ignore[misc]
    """In floats, with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv2d(i, o, 3, step, 1, bias=name == LAST) for name, (i, o, step) in LAYERS.items()}
        )
        self.norms = nn.ModuleDict({name: nn.BatchNorm2d(o) for name, (_, o, _) in LAYERS.items() if name != LAST})

    def forward(self, x: Tensor) -> Tensor:
        """Normalised frames (n, 1, rows, cols), as whole numbers in float32, to logits (n, 3, rows, cols)."""
        return through(x / STEPS, self._layer)

    def _layer(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.convolutions[name](x)
        return out if name == LAST else F.relu(self.norms[name](out), inplace=True)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def rewritten(self, frames: Tensor) -> dict[str, Tensor]:
        """The weights of ``Finding``, whose logits are these as near as whole numbers come.

        Args:
            frames: normalised (n, 1, rows, cols), from which the range of every activation is taken.
        """
        self.eval()
        ranges: dict[str, Tensor] = {}

        def watched(name: str, x: Tensor) -> Tensor:
            out = self._layer(name, x)
            if name != LAST:
                flat = out.transpose(0, 1).flatten(1)
                kth = max(1, round(CALIBRATED * flat.shape[1]))
                ranges[name] = flat.kthvalue(kth, 1).values.clamp(min=1e-3) / LEVELS
            return out

        through(frames / STEPS, watched)
        scales = {"": torch.full((4,), 1 / STEPS)} | ranges
        inputs = {name: [before] for before, name in zip(["", *LAYERS], LAYERS, strict=False)}
        inputs["sixteenth3"].append("sixteenth2")
        inputs["eighth3"].append("eighth2")
        inputs["quarter3"].append("quarter2")
        inputs["half3"].append("half2")
        out: dict[str, Tensor] = {}
        for name in LAYERS:
            weight, bias = self._folded(name)
            weight = weight * torch.cat([scales[before] for before in inputs[name]])[None, :, None, None]
            own = ranges.get(name)
            if own is not None:
                weight, bias = weight / own[:, None, None, None], bias / own
            out |= {f"{name}.{key}": value for key, value in _whole(weight, bias, own is None).items()}
        return out

    def _folded(self, name: str) -> tuple[Tensor, Tensor]:
        convolution = self.convolutions[name]
        if name == LAST:
            return convolution.weight, convolution.bias
        norm = self.norms[name]
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        return convolution.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain


def _whole(weight: Tensor, bias: Tensor, together: bool) -> dict[str, Tensor]:
    """Weights int8, bias int32 and the power of two that they were multiplied by, of each channel or of all."""
    largest = weight.abs().flatten(1).amax(1).clamp(min=1e-6)
    shift = (WEIGHTS / (largest.amax().expand_as(largest) if together else largest)).log2().floor().clamp(-8, 16)
    while True:
        many = shift.exp2()
        whole, added = (weight * many[:, None, None, None]).round(), (bias * many).round()
        sums = whole.abs().flatten(1).sum(1) * LEVELS + added.abs()
        if (sums < EXACT).all():
            return {"weight": whole.to(torch.int8), "bias": added.to(torch.int32), "shift": shift.to(torch.int8)}
        shift = shift - (sums.amax().expand_as(sums) if together else sums).ge(EXACT).to(shift.dtype)


class Finding(nn.Module):  # type: ignore[misc]
    """In whole numbers, of the weights that ``Learning.rewritten`` gave."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Raises ValueError for weights of another network, or whose sums would not be exact."""
        super().__init__()
        self._weights, self._biases = dict[str, Tensor](), dict[str, Tensor]()
        if set(weights) != {f"{name}.{key}" for name in LAYERS for key in ("weight", "bias", "shift")}:
            raise ValueError("they are of another network")
        for name, (inside, outside, _) in LAYERS.items():
            weight, bias = weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float()
            if weight.shape != (outside, inside, 3, 3) or bias.shape != (outside,):
                raise ValueError(f"layer {name} is of another size")
            if not (weight.abs().flatten(1).sum(1) * LEVELS + bias.abs() < EXACT).all():
                raise ValueError(f"the sums of layer {name} would not be exact")
            gain = torch.exp2(-weights[f"{name}.shift"].float())  # a power of two: what was exact stays so
            self._weights[name] = (weight * gain[:, None, None, None]).contiguous(memory_format=torch.channels_last)
            self._biases[name] = bias * gain

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        """As ``Learning.forward``, on the CPU: exact."""
        return through(x.contiguous(memory_format=torch.channels_last), self._layer)

    def _layer(self, name: str, x: Tensor) -> Tensor:
        out = F.conv2d(x, self._weights[name], self._biases[name], LAYERS[name][2], 1)
        return out if name == LAST else out.round_().clamp_(0, LEVELS)

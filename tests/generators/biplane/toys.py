"""Small bi-plane samples of phantom trees."""

from lesionforge.generators.biplane.generator import Biplane
from lesionforge.generators.biplane.params import BiplaneParams
from lesionforge.generators.carm.view import View
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.types import SampleSpec

SMALL = {"grid": 64, "detector": 128, "spacing_mm": (1.6, 2.2)}


def tree(side="left", subject="s", stenoses=0, voxel_mm=0.6, varied=True):
    return phantom_tree(b"k" * 32, side, subject, stenoses=stenoses, voxel_mm=voxel_mm, varied=varied)


def spec(name="train-0000-00000000", target=None):
    return SampleSpec(name, "train", 0, 0, 0, target, name.encode().ljust(32, b"."))


def one(case=None, target=None, name="train-0000-00000000", **params):
    (sample,) = Biplane(BiplaneParams(**SMALL | params)).generate([case or tree()], [spec(name, target)])
    return sample


def views_of(sample):
    return [View.from_json(v) for v in sample.drawn["views"]]

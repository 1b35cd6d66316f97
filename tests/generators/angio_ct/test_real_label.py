"""Real anatomy: the published ImageCAS label, whose sides another reader tells as well."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from lesionforge.engine.sources.trees.labels import ImageCas, LabelOptions
from lesionforge.generators.angio_ct.generator import AngioCt
from lesionforge.generators.angio_ct.lumen import sided
from lesionforge.generators.angio_ct.params import AngioCtParams
from lesionforge.generators.types import Rejected, Volume
from tests.generators.lesion.toys import spec


def test_the_real_imagecas_label(data_dir):
    """Its image is not published with it: CT is synthesised about the lumen, so that only geometry is real here."""
    path = data_dir / "coronary_tree_3d" / "imagecas_example.label.nii.gz"
    image = nib.as_closest_canonical(nib.load(path))
    lumen = (np.asarray(image.dataobj) > 0)[::-2, ::-2]  # RAS to LPS
    found = ndimage.find_objects(lumen.astype(np.uint8))[0]
    lumen = np.pad(lumen[found], 12)
    spacing = tuple(float(s) * n for s, n in zip(image.header.get_zooms()[:3], (2, 2, 1), strict=True))
    hu = np.where(lumen, 330, -80).astype(np.int16)
    case = Volume("s", "h", "its page", hu, spacing, (0.0,) * 3, lumen.astype(np.uint8), {1: "coronary"})
    known = sided(case)
    values = {name: value for value, name in known.legend.items()}
    source = ImageCas(str(path), LabelOptions())
    for n, side in enumerate(source.options.sides):
        tree = source.read(n)
        share = (known.labels == values[f"coronary_{side}"]).sum() * 4 / len(tree.points)
        assert share == pytest.approx(1, abs=0.02)
    generator = AngioCt(AngioCtParams(size=64, plaques=(1, 1), percent_ds=(40, 70)))
    for n in range(20):
        try:
            (sample,) = generator.generate([known], [spec(n, "calcified")])
            break
        except Rejected:
            continue
    (lesion,) = sample.labels["lesions"]
    best = min(lesion["projections"], key=lambda shown: shown["overlap"] + shown["foreshortening"])
    assert best["overlap"] < 0.1
    assert best["densitometric_ds"] == pytest.approx(lesion["measured_ds"], abs=8)

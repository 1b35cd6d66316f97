"""The meter that drawn and real lesions are compared by, on tubes whose lumen is known."""

import numpy as np
import pytest

from tests.generators.stenosis import half_depth
from tests.generators.stenosis.tubes import tube
from tests.generators.vessel import tubes


@pytest.mark.parametrize(("width", "percent_ds"), [(14.0, 0), (14.0, 40), (18.0, 60)])
def test_it_reads_a_tube(width, percent_ds):
    """A chord at half its depth is .87 of the diameter, at the lesion as beside it: %DS is that of the diameters."""
    made = tube(tubes.line(20), width, percent_ds=percent_ds)
    xy = tuple(made.points[made.middle] + 0.5)
    read, reference = half_depth.at_place(made.image, half_depth.vessels(made.mask), xy)
    assert read == pytest.approx(percent_ds, abs=5)
    assert reference == pytest.approx(np.sqrt(0.75) * width, abs=0.1 * width)


def test_it_says_when_no_vessel_is_there():
    made = tube(tubes.line(0), 12.0)
    assert np.isnan(half_depth.at_place(made.image, half_depth.vessels(made.mask), (2.0, 2.0))[0])

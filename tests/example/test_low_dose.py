from low_dose import LowDose, LowDoseParams

from lesionforge.engine.sources.phantom import Phantom, PhantomOptions
from lesionforge.generators.testing import check_generator


def test_low_dose_keeps_a_generator_s_promises():
    frames = Phantom("angiogram", PhantomOptions(count=1, size=128))
    half, tenth = check_generator(LowDose(LowDoseParams()), [frames.read(0), frames.read(1)])
    assert tenth.measured["noise_grey"] > 1.5 * half.measured["noise_grey"] > 0

import pytest

from tests.jobs.tasks.segmentation import worlds


@pytest.fixture(scope="session")
def balls(tmp_path_factory):
    """Datasets: ``real`` with train and test; ``made``, other balls in other subjects; ``healthy``, none."""
    folder = tmp_path_factory.mktemp("balls")
    only = {"split": {"train": 1.0, "val": 0, "test": 0}, "first": 100, "count": 4}
    return {
        "real": worlds.make_dataset(folder, "real"),
        "made": worlds.make_dataset(folder, "made", radius=4.0, **only),
        "healthy": worlds.make_dataset(folder, "healthy", classes=("healthy",), **only),
    }

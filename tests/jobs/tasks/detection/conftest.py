import pytest

from tests.jobs.tasks.detection import worlds


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A small generated dataset's place."""
    return worlds.make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Of the bootstrap: what it is of is tested elsewhere."""
    monkeypatch.setattr("lesionforge.jobs.studies.summary.DRAWS", 40)

import pytest


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Of the bootstrap: what it is of is tested elsewhere."""
    monkeypatch.setattr("lesionforge.jobs.studies.summary.DRAWS", 40)

"""A place that needs storage options can be given them by every command, and by the environment."""

import fsspec
import pytest
import typer

from lesionforge.engine.recipe_yaml import RecipeError
from lesionforge.jobs import dataset_commands
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.options import opened
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store
from tests.engine.conftest import toy


@pytest.mark.parametrize("command", ["status", "verify", "replay", "preview", "export", "gc"])
def test_every_command_that_takes_a_dataset_has_them(command):
    assert "storage" in getattr(dataset_commands, command).__annotations__


def test_they_reach_the_file_system(monkeypatch):
    made = []
    monkeypatch.setattr("lesionforge.sinks.store.store._connect", lambda *args, **more: made.append(args))
    opened("s3://bucket/d", ["endpoint_url=http://127.0.0.1:1", "config_kwargs={read_timeout: 9}"])._open()
    assert made == [
        ("s3", "s3://bucket/d", {"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"read_timeout": 9}})
    ]


def test_keys_are_no_storage_option():
    with pytest.raises(typer.BadParameter, match="holds a secret"):
        opened("s3://bucket/d", ["secret=abcdefgh"])


def test_commands_and_the_reader_find_a_dataset_by_its_endpoint(moto_env, monkeypatch):
    """Neither by ``AWS_ENDPOINT_URL``."""
    for name, value in moto_env.items():
        monkeypatch.setenv(name, value)
    endpoint = moto_env["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    place = "s3://lesionforge/by-endpoint"
    generate(toy(storage_options={"endpoint_url": endpoint}), place, in_process=True)
    with pytest.raises(typer.Exit) as end:
        dataset_commands.verify(place, storage=[f"endpoint_url={endpoint}"])
    assert end.value.exit_code == 0
    assert len(Samples(Store(place, {"endpoint_url": endpoint}))) == 40
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", endpoint)
    read: dict[str, dict[str, str]] = {}
    fsspec.config.set_conf_env(read)  # as it does when it is imported
    monkeypatch.setattr(fsspec.config, "conf", read)
    assert len(Samples(place)) == 40


def test_memory_is_of_one_process():
    with pytest.raises(RecipeError, match=r"memory://nobody-sees: .*add --in-process, or choose a folder or a bucket"):
        generate(toy(), "memory://nobody-sees")

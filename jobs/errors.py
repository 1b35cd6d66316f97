"""The errors that are a person's to mend, gathered for the command line."""

from __future__ import annotations


class UsageError(Exception):
    """Something asked of a job that cannot be done; the message says what, and what to change."""


def known() -> list[type[Exception]]:
    """Exceptions whose message is the whole answer; imported late, as they pull in their modules."""
    from lesionforge.engine.dataset import DatasetError
    from lesionforge.engine.driver import JobError
    from lesionforge.engine.log import LogError
    from lesionforge.engine.plan import PlanError
    from lesionforge.engine.plugins import PluginError
    from lesionforge.engine.ray.placement import PlacementError
    from lesionforge.engine.recipe_yaml import RecipeError
    from lesionforge.engine.sources.base import SourceError
    from lesionforge.sinks.commit import ForeignShard
    from lesionforge.sinks.store import StoreError

    ours: list[type[Exception]] = [UsageError, RecipeError, PlanError, SourceError, PluginError, DatasetError]
    return [*ours, LogError, StoreError, ForeignShard, PlacementError, JobError]

"""The errors that are a person's to mend, gathered for the command line."""

from __future__ import annotations


class UsageError(Exception):
    """Something asked of a job that cannot be done; the message says what, and what to change."""


def known() -> list[type[Exception]]:
    """Exceptions whose message is the whole answer; imported late, as they pull in their modules."""
    from engine.document import DatasetError
    from engine.driver import JobError
    from engine.log import LogError
    from engine.placement import PlacementError
    from engine.plan import PlanError
    from engine.recipe_file import RecipeError
    from engine.registry import UnknownPlugin
    from engine.sources.base import SourceError
    from jobs.detection.frames import FrameError
    from jobs.study import StudyError
    from sinks.commit import ForeignShard
    from sinks.store import StoreError

    ours: list[type[Exception]] = [UsageError, RecipeError, PlanError, SourceError, UnknownPlugin, DatasetError]
    return [*ours, LogError, StoreError, ForeignShard, PlacementError, JobError, StudyError, FrameError]

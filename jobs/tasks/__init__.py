"""The downstream tasks (see ``jobs.studies.task``); one is added by a folder here and a line in ``TASKS``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskEntry:
    """Where a task's class is, and in a few words what is learnt; known without importing it."""

    where: str
    learns: str


TASKS: dict[str, TaskEntry] = {
    "detection": TaskEntry("lesionforge.jobs.tasks.detection.task:Detection", "stenoses as boxes in angiograms"),
    "frames": TaskEntry("lesionforge.jobs.tasks.frames.task:Frames", "begin and end of full contrast in a run"),
    "reconstruction": TaskEntry(
        "lesionforge.jobs.tasks.reconstruction.task:Reconstruction", "coronary trees in 3-D from two X-rays"
    ),
    "segmentation": TaskEntry("lesionforge.jobs.tasks.segmentation.task:Segmentation", "plaques or tumours in CT"),
    "severity": TaskEntry(
        "lesionforge.jobs.tasks.severity.task:Severity", "how severe disease is in angiographic runs"
    ),
    "view": TaskEntry("lesionforge.jobs.tasks.view.task:ViewTask", "left or right tree, and the view, of angiograms"),
}

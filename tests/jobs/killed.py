"""A command of ours that dies inside a training, in a process of its own."""

import multiprocessing
import os
import signal
import sys

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(  # imported once, however many die
    [
        "lesionforge.jobs.cli",
        "lesionforge.jobs.studies.report",
        "lesionforge.jobs.tasks.detection.centre",
        "lesionforge.jobs.tasks.segmentation.segmenter",
    ]
)


def killed_at(step, *words):
    """Run ``lesionforge WORDS`` until its training has logged a step, which its checkpoint does not know yet; SIGKILL.

    It ends itself: who watches it from outside may look too late on a busy machine.
    """
    process = _CONTEXT.Process(target=_run, args=(step, [*map(str, words)]))
    process.start()
    process.join(250)
    assert process.exitcode == -signal.SIGKILL, process.exitcode


def _run(step, words):
    from lesionforge.jobs.cli import main
    from lesionforge.jobs.learning.loop import _Log

    log = _Log.__call__

    def last(self, record):
        log(self, record)
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    _Log.__call__ = last
    sys.argv = ["lesionforge", *words]
    main()

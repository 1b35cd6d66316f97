"""Runs commands of ``lesionforge``, each in a process of its own, with the imports made once: a fork for each.

``python -m tests.privacy.shell FILE``: FILE is JSON, ``[[name, environment, arguments], ...]``; what command NAME
says goes to NAME.out and NAME.err beside it, and the exit codes to standard output as JSON.
"""

import json
import os
import sys
from pathlib import Path


def run(folder: Path, name: str, environment: dict[str, str], arguments: list[str]) -> int:
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for number, stream in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{name}.{stream}", os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.update(environment)
    sys.argv = ["lesionforge", *arguments]
    code: object = 70
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    from lesionforge.engine import plugins
    from lesionforge.engine.sources.xa import runs  # noqa: F401
    from lesionforge.jobs.cli import main
    from lesionforge.jobs.commands import (  # noqa: F401
        generate,
        preview,
        replay,
        verify,
    )
    from lesionforge.sinks import exports  # noqa: F401

    for kind in ("sources", "generators"):  # looking for entry points takes its time
        for plugin in plugins.names(kind):
            plugins.load(kind, plugin)
    file = Path(sys.argv[1])
    codes = {name: run(file.parent, name, env, args) for name, env, args in json.loads(file.read_text())}
    sys.stdout.write(json.dumps(codes))

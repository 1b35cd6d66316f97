"""Training data that does not exist, for coronary and lesion imaging.

    import lesionforge as lf

    lf.plan("demo")                                # how much a recipe makes: a file, a shipped name, a dict, a Recipe
    lf.generate("demo", "demo")                    # makes it; again: goes on where it was
    lf.verify("demo"), lf.preview("demo")          # every byte re-read; a gallery, shown in a notebook
    samples = lf.Samples("demo", split="train")    # by number; lf.Reader(samples, batch=8) in batches

Everything is imported when it is first used: ``import lesionforge`` itself takes a millisecond.
"""

TYPE_CHECKING = False  # as editors and mypy read it; importing `typing` for it would take longer than all the rest
if TYPE_CHECKING:
    from lesionforge.engine.recipe import Recipe
    from lesionforge.jobs.commands.generate import generate
    from lesionforge.jobs.commands.plan import plan
    from lesionforge.jobs.commands.preview import preview
    from lesionforge.jobs.commands.verify import verify
    from lesionforge.sinks.reader import Reader, Samples, collate, loader

    __version__: str

__all__ = ["Reader", "Recipe", "Samples", "__version__", "collate", "generate", "loader", "plan", "preview", "verify"]

_HOMES = {
    "Reader": "sinks.reader",
    "Recipe": "engine.recipe",
    "Samples": "sinks.reader",
    "collate": "sinks.reader",
    "generate": "jobs.commands.generate",
    "loader": "sinks.reader",
    "plan": "jobs.commands.plan",
    "preview": "jobs.commands.preview",
    "verify": "jobs.commands.verify",
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("lesionforge")
    if name not in _HOMES:
        raise AttributeError(f"module 'lesionforge' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"lesionforge.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Every `lesionforge` command that the files of infra/ show is one that our command line takes."""

import re
import shlex
from pathlib import Path

import click
import pytest
import typer
import yaml

from lesionforge.jobs.cli import app

ROOT = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"(?:^|[\s`(])(lesionforge (?:[a-z]+)\b[^`\n#|&;)]*)")
PLACEHOLDER = re.compile(r"\.\.\.")


def shown():
    """File and command line: in fences, after comment signs, in YAML's folded entrypoints."""
    for path in sorted((ROOT / "infra").rglob("*")):
        if path.suffix not in (".md", ".yaml") and path.name != "Dockerfile":
            continue
        text = path.read_text()
        if path.suffix == ".yaml":
            for document in yaml.safe_load_all(text):
                entry = document.get("spec", {}).get("entrypoint") if isinstance(document, dict) else None
                if entry:
                    yield path.name, entry.strip()
            text = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
        for found in COMMAND.finditer(re.sub(r"\\\n\s*", " ", text)):
            words = found[1].strip()
            if re.match(r"lesionforge (generate|plan|status|doctor|verify|replay|preview|export|gc|schema)\b", words):
                yield path.name, words


@pytest.mark.parametrize(("name", "line"), sorted(set(shown())))
def test_the_command_line_takes_it(name, line):
    group = typer.main.get_command(app)
    words = [word for word in shlex.split(line)[1:] if not PLACEHOLDER.search(word)]
    context = group.make_context("lesionforge", list(words[:1]), resilient_parsing=True)
    command = group.get_command(context, words[0])
    assert command is not None, f"{name}: no command {words[0]}"
    command.make_context(words[0], words[1:], parent=click.Context(group))


def test_there_are_some():
    assert {"rayjob.yaml", "README.md"} <= {name for name, _ in shown()}

"""Imports point one way, and each room needs only what it may need."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("engine", "generators", "sinks", "jobs", "infra")
ALLOWED = {  # room -> modules of other rooms it may import
    "generators": (),
    "sinks": ("generators.types",),
    "engine": ("sinks", "generators"),
    "jobs": ("engine", "sinks", "generators"),
    "infra": (),
}


def imports(path):
    """Every import of a file, inside functions too; but for those that only type checkers follow."""
    tree = ast.parse(path.read_text())
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    passed = {child for node in typing for child in ast.walk(node)}
    for node in ast.walk(tree):
        if node in passed:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path):
    """The modules of this project that a file imports, as ``room.module``."""
    return [name.removeprefix("lesionforge.") for name in imports(path) if name.startswith("lesionforge.")]


def test_nobody_imports_a_room_by_its_bare_name():
    """It works in the root of a checkout and nowhere else: the wheel has one name, ``lesionforge``."""
    for path in [*(p for room in (*ROOMS, "tests") for p in (ROOT / room).rglob("*.py"))]:
        bare = [name for name in imports(path) if name.split(".")[0] in ROOMS]
        assert not bare, f"{path} imports {bare}"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        for name in ours(path):
            if name.split(".")[0] != room:
                assert any(name == a or name.startswith(a + ".") for a in ALLOWED[room]), f"{path} imports {name}"


def test_the_engine_reaches_generators_through_the_registry():
    """Only plain types and the base class; sources may use the phantoms that they yield."""
    for path in (ROOT / "engine").rglob("*.py"):
        for name in ours(path):
            if name.startswith("generators"):
                plain = name.startswith(("generators.types.", "generators.base.", "generators.parameters."))
                assert plain or "sources" in path.parts, f"{path} imports {name}"


def run(code, blocked):
    stub = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
    return subprocess.run([sys.executable, "-c", stub + code], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_generators_import_without_ray_torch_or_storage():
    names = [
        "lesionforge." + ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for p in (ROOT / "generators").rglob("*.py")
        if p.name != "__init__.py" and p.parent.name != "networks"  # torch modules, imported when a model is made
    ]
    code = "import importlib\nfor n in " + repr(names) + ": importlib.import_module(n)"
    done = run(code, ["ray", "torch", "fsspec", "pyarrow", "pydantic", "odl"])
    assert done.returncode == 0, done.stderr


def test_planning_needs_neither_ray_nor_numba_nor_torch():
    code = (
        "import importlib.metadata, contextlib\nimportlib.metadata.entry_points = None\n"  # asks all installed packages
    )
    code += "from lesionforge.jobs.cli import main\n"
    code += "for name in ('demo', 'stenosis_phantom', 'lesion_phantom', 'angio_ct_phantom'):\n"
    code += "    sys.argv = ['lesionforge', 'plan', name]\n    with contextlib.suppress(SystemExit): main()\n"
    code += "from lesionforge.engine import Pipeline, Plan, Recipe, load, permutation, plugins, recipe_yaml"
    absent = ["ray", "torch", "numba", "pyarrow", "fsspec", "PIL", "scipy.ndimage", "scipy.spatial", "rich.markdown"]
    done = run(code, [*absent, "lesionforge.engine.sources.folder", "lesionforge.engine.sources.files"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("samples (x") == 4, done.stderr


def test_the_command_line_answers_without_what_its_commands_need():
    done = run("import lesionforge.jobs.cli", ["numpy", "pydantic", "yaml", "importlib.metadata"])
    assert done.returncode == 0, done.stderr


def test_every_file_has_one_noun_s_size():
    """House style: files around 150 lines, rarely over 300."""
    long = {p: n for room in ROOMS for p in (ROOT / room).rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_circles():
    """No module needs, by however many steps, itself: imports inside functions count too."""
    files = {module_of(p): p for room in ROOMS for p in (ROOT / room).rglob("*.py")}
    needs = {}
    for module, path in files.items():
        found = set()
        for name in ours(path):
            known = name if name in files else name.rpartition(".")[0]
            if known in files and known != module:
                found.add(known)
        needs[module] = found
    left = dict(needs)  # what needs nothing that is left goes, then what nothing needs: circles stay
    while gone := [module for module, others in left.items() if not others & left.keys()]:
        for module in gone:
            del left[module]
    while gone := [module for module in left if not any(module in others for others in left.values())]:
        for module in gone:
            del left[module]
        left = {module: others & left.keys() for module, others in left.items()}
    assert not left, f"circles among {sorted(left)}"


def test_no_small_file_serves_one_other_only():
    """The opposite of the bound above: what is short and has one user stands in it."""
    files = {module_of(p): p for room in ROOMS for p in (ROOT / room).rglob("*.py")}
    users = {module: set() for module in files}
    for module, path in files.items():
        for name in ours(path):
            used = name if name in files else name.rpartition(".")[0]
            if used in files and used != module:
                users[used].add(module)
    small = {m for m, p in files.items() if p.name != "__init__.py" and len(p.read_text().splitlines()) < 40}
    assert not {m for m in small if len(users[m]) == 1}

"""Nothing that is read can run code: no pickle, no unsafe YAML, weights as tensors only, no other format of Pillow's.

Held over the tree itself: every call that could unpickle is found by its name and must say that it does not.
``tests/fuzz/guard.py`` holds the same while spoiled inputs are read.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("engine", "generators", "sinks", "jobs", "infra")
PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
RUN = {"eval", "exec", "compile", "__import__"}  # builtins
NEVER = {"read_pickle", "unsafe_load", "full_load", "load_all", "unsafe_load_all", "full_load_all", "from_pickle"}
SAYS = {  # a call of this name must pass this argument, with this value
    "load": ("allow_pickle", False),  # numpy's; torch's and yaml's are told apart below
    "savez": ("allow_pickle", False),
    "savez_compressed": ("allow_pickle", False),
    "write_array": ("allow_pickle", False),
    "read_array": ("allow_pickle", False),
}
NUMPY, TORCH, YAML = {"np", "numpy"}, {"torch"}, {"yaml"}


def faults(source: str) -> Iterator[str]:
    """What in a module could run code that is read."""
    tree = ast.parse(source)
    local = {}  # settings passed as **NAME
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            keys = {
                ast.literal_eval(k): v for k, v in zip(node.value.keys, node.value.values, strict=True) if is_text(k)
            }
            local.update({target.id: keys for target in node.targets if isinstance(target, ast.Name)})
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").split(".")[0]}
            names |= {alias.name for alias in node.names} & NEVER
        else:
            names = set()
        if bad := names & (PICKLERS | NEVER):
            yield f"line {node.lineno}: imports {', '.join(sorted(bad))}"
        if isinstance(node, ast.Call):
            yield from call_faults(node, local, '["ULTRALYTICS_SAFE_LOAD"] = "true"' in source)


def is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def call_faults(node: ast.Call, local: dict[str, dict[str, ast.expr]], safe_yolo: bool) -> Iterator[str]:
    function = node.func
    if isinstance(function, ast.Name):
        if function.id in RUN | NEVER:
            yield f"line {node.lineno}: calls {function.id}"
        return
    if not isinstance(function, ast.Attribute):
        return
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    said = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    for keyword in node.keywords:
        if keyword.arg is None and isinstance(keyword.value, ast.Name):
            said |= local.get(keyword.value.id, {})

    def says(name: str, value: bool) -> bool:
        return isinstance(said.get(name), ast.Constant) and said[name].value is value

    if function.attr in NEVER or (function.attr == "load" and owner in YAML):
        yield f"line {node.lineno}: {owner}.{function.attr}: use safe_load"
    elif function.attr == "load" and owner in TORCH and not says("weights_only", True):
        yield f"line {node.lineno}: torch.load without weights_only=True"
    elif owner in NUMPY | {"format"} and function.attr in SAYS and not says(*SAYS[function.attr]):
        yield f"line {node.lineno}: {owner}.{function.attr} without allow_pickle=False"
    elif says("allow_pickle", True) or says("weights_only", False) or says("trust_remote_code", True):
        yield f"line {node.lineno}: {function.attr} asks for what may run code"
    elif function.attr == "from_pretrained" and not says("local_files_only", True):
        yield f"line {node.lineno}: from_pretrained may download"
    elif function.attr == "from_pretrained" and takes_weights(owner) and not says("use_safetensors", True):
        yield f"line {node.lineno}: from_pretrained may unpickle weights"
    elif function.attr == "YOLO" and not safe_yolo:
        yield f"line {node.lineno}: Ultralytics unpickles unless ULTRALYTICS_SAFE_LOAD is set before it is imported"
    elif function.attr == "open" and owner == "Image" and "formats" not in said:
        yield f"line {node.lineno}: Image.open asks every reader of Pillow's: some start programs"


def takes_weights(owner: str) -> bool:
    return not owner.endswith(("Tokenizer", "Scheduler", "Config", "Processor"))


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_read_can_run_code(room):
    files = [path for path in modules() if path.relative_to(ROOT).parts[0] == room]
    assert files
    found = [f"{path.relative_to(ROOT)} {fault}" for path in files for fault in faults(path.read_text())]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "from yaml import unsafe_load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "pandas.read_pickle(path)",
        "eval(text)",
        "Model.from_pretrained(folder)",
        "Model.from_pretrained(folder, local_files_only=True)",
        "O = {'local_files_only': True}\nModel.from_pretrained(folder, **O)",
        "Image.open(path)",
        "ultralytics.YOLO(path)",
        "AutoModel.from_pretrained(x, local_files_only=True, use_safetensors=True, trust_remote_code=True)",
    ],
)
def test_the_search_finds(source):
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=False)",
        "torch.load(path, map_location='cpu', weights_only=True)",
        "yaml.safe_load(text)",
        "O = {'local_files_only': True, 'use_safetensors': True}\nModel.from_pretrained(folder, **O)",
        "AutoTokenizer.from_pretrained(folder, local_files_only=True)",
        "net.eval()",
        "json.load(file)",
        "re.compile('x')",
    ],
)
def test_the_search_lets_pass(source):
    assert not list(faults(source))

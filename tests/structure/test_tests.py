"""The shape of the tests: one way to import a helper, and no way into what the package keeps to itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = {str(path.relative_to(TESTS)): path for path in sorted(TESTS.rglob("*.py"))}
HELPERS = {path.stem for path in FILES.values()} - {"__init__"}
# Torch shows the hooks of a module under no other name.
TORCHS = {"_forward_hooks", "_forward_pre_hooks"}


def is_private(name: str) -> bool:
    """Whether a name is private; ``__dunders__`` and the ``_repr_svg_`` of notebooks are protocols."""
    return name.startswith("_") and not name.startswith("__") and not name.endswith("_")


def mistakes(tree: ast.Module) -> Iterator[str]:
    """What each line does wrong, if anything."""
    for node in ast.walk(tree):
        found = [*wrong_import(node), *wrong_access(node)]
        yield from (f"line {getattr(node, 'lineno', 0)}: {text}" for text in found)


def wrong_import(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (f"write from tests... import {name.name}" for name in names if name.name in HELPERS)
        case ast.ImportFrom(module, names, level):
            parts = (module or "").split(".")
            if level or parts[0] in HELPERS:
                yield f"write from tests... import, not from {module or '.'}"
            if parts[0] in ("robustbench_wb", "tests"):
                yield from (f"{name} is private" for name in (*parts, *(n.name for n in names)) if is_private(name))


def wrong_access(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(ast.Name("sys"), "path", ast.Store()):
            yield "sys.path is changed"
        case ast.Attribute(ast.Attribute(ast.Name("sys"), "path"), "insert" | "append" | "extend"):
            yield "sys.path is changed"
        case ast.Attribute(ast.Name("self" | "cls")):
            pass
        case ast.Attribute(_, name) if is_private(name) and name not in TORCHS:
            yield f"{name} is private"
        case ast.Call(ast.Attribute(_, "setattr" | "delattr"), [_, ast.Constant(str(name)), *_]) if is_private(name):
            yield f"{name} is private"


def test_helpers_are_imported_as_a_package_and_nothing_private_is() -> None:
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
    assert not {name: found for name, tree in trees.items() if (found := list(mistakes(tree)))}


@pytest.mark.parametrize(
    "line",
    [
        "import small_runs",
        "from small_runs import run",
        "from .small_runs import run",
        "from robustbench_wb.rng import _signed",
        "from robustbench_wb.rng import mix, _signed as signed",
        "from tests.training._small import run",
        "loop._step(1)",
        "monkeypatch.setattr(loop, '_step', None)",
        "sys.path.insert(0, 'tests')",
        "sys.path = []",
    ],
)
def test_each_mistake_is_seen(line: str) -> None:
    assert len(list(mistakes(ast.parse(line)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "import tests.training.small_runs",
        "from tests.training.small_runs import run",
        "from torch.utils._python_dispatch import TorchDispatchMode",
        "self._kept = cls._made",
        "module._forward_hooks",
        "print(sys.path[0], robustbench_wb.__all__)",
    ],
)
def test_what_is_allowed_is_no_mistake(line: str) -> None:
    assert not list(mistakes(ast.parse(line)))

"""The shape of the package: imports point downward, there is no cycle, and the front door is light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import robustbench_wb

ROOT = Path(robustbench_wb.__file__).parent
LAYERS = [
    "cli",
    "api",
    "report",
    "analysis",
    "store",
    "engine",
    "records",
    "suites",
    "stressors",
    "layers",
    "training",
    "tasks",
    "models",
    "stats",
]
MODULES = {".".join(("robustbench_wb", *p.relative_to(ROOT).with_suffix("").parts)): p for p in ROOT.rglob("*.py")}
# Longer ones need a reason written here.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def layer(module: str) -> int:
    """0 is the top; the ground floor is below all rooms."""
    parts = module.split(".")
    if module in ("robustbench_wb.__main__", "robustbench_wb.__init__", "robustbench_wb"):
        return -1
    return LAYERS.index(parts[1]) if parts[1] in LAYERS else len(LAYERS)


@cache
def text(module: str) -> str:
    return MODULES[module].read_text(encoding="utf-8")


@cache
def nodes(module: str) -> list[ast.AST]:
    """All nodes of a module's syntax tree; the first is its root."""
    return list(ast.walk(ast.parse(text(module))))


def imports(module: str, top_level: bool) -> set[str]:
    """Modules of the package that a module imports: everywhere, or at its top level only."""
    root, *_ = all_nodes = nodes(module)
    assert isinstance(root, ast.Module)
    found: set[str] = set()
    for node in root.body if top_level else all_nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in found if name in MODULES}


@pytest.mark.no_cover
def test_imports_point_downward() -> None:
    upward = {
        module: found
        for module in MODULES
        if (found := [name for name in imports(module, top_level=False) if layer(name) < layer(module)])
    }
    assert not upward


def test_there_is_no_import_cycle() -> None:
    graph = {module: imports(module, top_level=True) - {module} for module in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"cycle: {' -> '.join((*trail, module))}"
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.no_cover
def test_files_and_functions_stay_small() -> None:
    assert not {module for module in MODULES if len(text(module).splitlines()) > 400} - set(LONG_FILES)
    too_long = {
        f"{module}.{node.name}"
        for module in MODULES
        for node in nodes(module)
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or sys.maxsize) - node.lineno >= 60
    }
    assert not too_long - set(LONG_FUNCTIONS)


@pytest.mark.no_cover
def test_only_the_console_prints() -> None:
    calls = {
        module
        for module in MODULES
        for node in nodes(module)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert not calls


LIGHT = (
    "--help",
    "--version",
    "run --help",
    "gate --help",
    "baseline pin --help",
    "claims check --help",
    "merge --help",
    "import-checkpoint --help",
    "list",
    "list --json",
    "show crate",
    "curves --help",
    "layers --help",
    "strength --help",
    "doctor --help",
    "show digits",
)


def test_light_commands_import_no_torch() -> None:
    """All in one process, which ends at the first command that fails or imports too much."""
    script = (
        "import sys\n"
        "from robustbench_wb.cli.app import run_cli\n"
        "heavy = {'torch', 'pandas', 'datasets', 'torchattacks', 'deltalake', 'scipy', 'sklearn'}\n"
        f"for line in {LIGHT!r}:\n"
        "    code = run_cli(line.split())\n"
        "    if code or heavy & {*sys.modules}:\n"
        "        sys.exit(f'{line}: code {code}, imported {sorted(heavy & {*sys.modules})}')\n"
        "print('last line')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("last line\n")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("robustbench_wb", {"torch", "pandas", "numpy", "pydantic"}),
        # What diff and curves import takes longer than all else that they do.
        ("robustbench_wb.api.compare", {"torch", "sklearn", "scipy.stats"}),
        pytest.param(
            "robustbench_wb.engine.shard_worker",
            {"pandas", "scipy.optimize", "scipy.stats", "torch._dynamo"},
            marks=pytest.mark.slow(2),
        ),
    ],
)
def test_imports_leave_out_what_is_heavy(module: str, heavy: set[str]) -> None:
    script = f"import sys, {module}; sys.exit(str({heavy!r} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == ""


def test_public_names_of_the_door_exist() -> None:
    for name in robustbench_wb.__all__:
        assert getattr(robustbench_wb, name) is not None
    with pytest.raises(AttributeError):
        _ = robustbench_wb.no_such_name  # type: ignore[attr-defined]

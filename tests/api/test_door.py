"""The public names: lazy at run time, typed for checkers, each with one meaning."""

import ast
import importlib
import pkgutil
import runpy
from pathlib import Path

import pytest
from mypy import api as mypy

import robustbench_wb
from robustbench_wb.api.request import RequestFields
from robustbench_wb.engine.request import RunRequest

HERE = Path(__file__).parent
ROOT = Path(robustbench_wb.__file__).parent
VERBS = [
    "run",
    "train",
    "compare",
    "gate",
    "verify",
    "leaderboard",
    "report",
    "explain",
    "doctor",
    "selfcheck",
    "merge",
    "plan",
    "repair",
    "vacuum",
    "claims",
    "layers",
    "curves",
    "strength",
    "evaluate",
    "build",
]


def test_names_at_run_time_and_names_for_type_checkers_are_the_same() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert dir(robustbench_wb) == sorted(["__version__", *seen])
    assert set(robustbench_wb.__all__) == {"__version__", *seen}
    for name, module in seen.items():
        assert getattr(robustbench_wb, name) is getattr(importlib.import_module(str(module)), name)


def test_no_public_name_is_that_of_a_submodule() -> None:
    """An imported submodule becomes an attribute of the package, and would take the place of the name."""
    modules = {module.name for module in pkgutil.iter_modules(robustbench_wb.__path__)}
    assert not modules & set(robustbench_wb.__all__)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_module_and_a_function_of_its_name(verb: str) -> None:
    module = importlib.import_module(f"robustbench_wb.api.{verb}")
    function = getattr(module, verb)
    assert function.__module__ == module.__name__
    assert "Args:" in function.__doc__
    assert verb in robustbench_wb.__all__ or verb in {"report", "layers"}


def test_keyword_arguments_are_the_fields_of_a_request() -> None:
    assert set(RequestFields.__annotations__) == set(RunRequest.model_fields)


def test_the_door_says_what_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'evalute'"):
        _ = robustbench_wb.evalute  # type: ignore[attr-defined]


@pytest.mark.slow(3)
def test_a_user_program_runs(tmp_path: Path) -> None:
    program = runpy.run_path(str(HERE / "user_program.py"))
    assert "pgd-linf@8/255" in program["main"](tmp_path)


@pytest.mark.slow(33)
def test_a_user_program_passes_mypy_and_a_wrong_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPYPATH", str(ROOT.parent))
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from robustbench_wb import evaluate, evalute, run\n"
        "evaluate(3, [], [])\n"
        "run(sample=20)\n"
        "accuracy: str = run(samples=20).rows[0].accuracy\n"
    )
    # The cache of a checkout, which type checking of the package fills as well: without one this takes a minute.
    options = ["--strict", "--cache-dir", str(ROOT.parent / ".mypy_cache"), "--no-error-summary"]
    config = ["--config-file", str(ROOT.parent / "pyproject.toml")]
    out, problems, _ = mypy.run([*options, *config, str(HERE / "user_program.py"), str(wrong)])
    assert problems == ""
    assert "user_program.py" not in out
    lines = [line for line in out.splitlines() if ": error:" in line]
    for number, words in (
        (1, 'has no attribute "evalute"'),
        (2, 'Argument 1 to "evaluate" has incompatible type "int"'),
        (3, 'Unexpected keyword argument "sample"'),
        (4, "Incompatible types in assignment"),
    ):
        assert any(f"wrong.py:{number}:" in line and words in line for line in lines), out

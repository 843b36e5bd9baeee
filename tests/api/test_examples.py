"""Scripts and notebooks of ``examples/`` run as they are written; so does the program of the README."""

import ast
import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def executed(notebook: Path) -> list[object]:
    """The values that the cells of a notebook end with; None for a cell that ends with a statement."""
    space: dict[str, object] = {"__name__": "__main__"}
    values: list[object] = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree, value = ast.parse("".join(cell["source"])), None
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(notebook), "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), str(notebook), "eval"), space)
        values.append(value)
    return values


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_there_are_three_scripts_and_a_notebook() -> None:
    assert len(list(EXAMPLES.glob("*.py"))) == 3
    assert len(list(EXAMPLES.glob("*.ipynb"))) == 1


@pytest.mark.slow(3)
@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_runs(script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [str(script)])
    with torch.random.fork_rng():
        runpy.run_path(str(script), run_name="__main__")
    assert "clean" in capsys.readouterr().out


@pytest.mark.slow(5)
def test_scripts_say_what_they_promise(capsys: pytest.CaptureFixture[str]) -> None:
    with torch.random.fork_rng():
        found = runpy.run_path(str(EXAMPLES / "compare_two_versions.py"))["difference"]
    assert [pair.new.cell for pair in found.pairs] == ["clean", "pgd-linf@16/255", "gaussian-noise@5"]
    assert found.pairs[1].verdict == "better"


@pytest.mark.slow(2)
@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = executed(notebook)
    assert sum(value is not None for value in values) >= 3
    assert "pgd-linf@4/255" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs"), "notebooks are stored without outputs"


@pytest.mark.slow(2)
def test_the_programs_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/python.md"))
    example = page.split("\n## An example: models in memory, two seeds\n")[1]
    programs = [
        program for text in (readme, example) for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ]
    assert len(programs) == 2
    first = [line for line in programs[0].splitlines() if line.strip()]
    assert len(first) <= 10
    space: dict[str, object] = {}
    with torch.random.fork_rng():
        for program in programs:
            exec(program, space)
    assert "pgd-linf@8/255" in capsys.readouterr().out

"""The gate as a test of somebody's own test suite."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

# A run inside this process forgets what it imported; what is here already is not imported again for each.
import robustbench_wb.api.gate
import robustbench_wb.report.gate  # noqa: F401
from robustbench_wb.cli.app import run_cli
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record, row, states

pytest_plugins = ["pytester"]

MODULE = "robustbench_wb.cli.pytest_plugin"
FILE = "baselines/main.parquet"


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> pytest.Pytester:
    """A project with one test and a baseline of 1,000 robust samples."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("def test_sound():\n    assert True\n")
    commit(0)
    assert run_cli(["baseline", "pin", "main"]) == 0
    capsys.readouterr()
    return pytester


def commit(lost: int) -> None:
    made = record(states(1000 - lost, lost), weights=f"lost {lost}")
    RecordStore("results").append(made)
    ScoreTable("results").commit([row(made)], {})


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:cacheprovider", "-p", MODULE, *arguments)


CELL = "digits small adversarial: vit-nano plain seed 0, pgd-linf@8/255"


def test_every_evaluation_and_the_gate_are_tests(project: pytest.Pytester) -> None:
    commit(0)
    found = run(project, "--robustness-baseline", FILE, "-v")
    found.assert_outcomes(passed=3)
    found.stdout.fnmatch_lines([f"*{FILE}::{CELL} PASSED*", f"*{FILE}::robustness gate PASSED*"])
    run(project).assert_outcomes(passed=1)


def test_a_closed_gate_fails_with_its_text_alone(project: pytest.Pytester) -> None:
    commit(40)
    found = run(project, "--robustness-baseline", FILE)
    found.assert_outcomes(passed=1, failed=2)
    shown = found.stdout.str()
    assert f"{CELL}: regressed against the baseline: the drop is significantly larger than the margin" in shown
    assert "lost 960, 961, 962" in shown
    assert f"{FILE} -> v2: failed, a drop beyond the margin (exit code 1)" in shown
    assert "pytest_plugin.py" not in shown


def test_one_evaluation_is_selected_by_its_name(project: pytest.Pytester) -> None:
    commit(40)
    run(project, "--robustness-baseline", FILE, "-k", "pgd-linf").assert_outcomes(failed=1, deselected=2)


def test_what_is_undecided_is_a_warning_unless_strict(project: pytest.Pytester) -> None:
    commit(12)
    arguments = ("--robustness-baseline", FILE)
    found = run(project, *arguments)
    found.assert_outcomes(passed=3, warnings=1)
    assert "minimum detectable effect" in found.stdout.str()
    run(project, *arguments, "--robustness-strict").assert_outcomes(passed=1, failed=2)
    run(project, *arguments, "--robustness-version", "v1").assert_outcomes(passed=3)


def test_a_mistake_is_one_line(project: pytest.Pytester) -> None:
    found = run(project, "--robustness-baseline", "nowhere.parquet")
    found.assert_outcomes(passed=1, failed=1)
    found.stdout.fnmatch_lines(["'nowhere.parquet' cannot be read: No such file or directory"])


def test_it_is_found_by_pytest_and_costs_others_nothing() -> None:
    content: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    (module,) = content["project"]["entry-points"]["pytest11"].values()
    assert import_module(module).pytest_addoption
    heavy = "{'torch', 'pandas', 'numpy', 'scipy', 'pydantic', 'deltalake', 'typer', 'rich'}"
    script = f"import sys, {module}; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == ""

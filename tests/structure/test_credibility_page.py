"""The page docs/credibility.md agrees with the code: every check, its limit, and the grade beyond the limit."""

import ast
from pathlib import Path

import pytest

from robustbench_wb.analysis.curves import attack_strength as strength
from robustbench_wb.engine.credibility import grade
from robustbench_wb.engine.credibility.image_probe import ImageProbe
from robustbench_wb.records.credibility import GRADES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "credibility.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for cells in (line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `"))
}


def written() -> list[tuple[str, float, str | None]]:
    """Name, limit and grade beyond the limit of every check in the code; None where the grade depends on the value."""
    tree = ast.parse(Path(grade.__file__).read_text(encoding="utf-8"))
    calls = [call for call in ast.walk(tree) if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "_check"]
    found = []
    for call in sorted(calls, key=lambda call: call.lineno):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        limit, worse = eval(ast.unparse(keywords["limit"]), vars(grade)), keywords["worse"]
        found.append(
            (ast.literal_eval(call.args[0]), limit, str(worse.value) if isinstance(worse, ast.Constant) else None)
        )
    return found


def percent(share: float) -> str:
    return f"{100 * share:g} %" if share else "0"


def test_the_page_has_every_check_and_no_other() -> None:
    assert list(ROWS) == list(dict.fromkeys(name for name, _, _ in written()))


@pytest.mark.parametrize(("name", "limit", "worse"), written())
def test_limits_and_grades(name: str, limit: float, worse: str | None) -> None:
    what, its_limit, its_worst, source = ROWS[name]
    assert percent(limit) == its_limit or f"(limit {percent(limit)})" in what
    assert worse is None or its_worst[0] == worse or f"{worse} at best (limit {percent(limit)})" in what
    assert source


def test_every_other_limit_stands_in_its_row() -> None:
    assert f"beyond {percent(grade.GAP_C)} C" in ROWS["strongest"][2]
    assert f"last {percent(grade.LATE_SHARE)} of" in ROWS["converged"][0]
    assert grade.TOLERATED_SAMPLES == strength.TOLERATED_SAMPLES == 1
    assert f"at most {percent(strength.PLATEAU_SHARE)} of the samples, plus one sample" in " ".join(PAGE.split())
    limits = {value for name, value in vars(grade).items() if name.isupper() and isinstance(value, float)}
    assert {percent(value) for value in limits} <= {percent(value) for _, value, _ in written()} | {"10 %", "5 %"}


def test_the_numbers_of_the_probe_and_the_letters() -> None:
    text, fields = " ".join(PAGE.split()), ImageProbe.model_fields
    assert f"first {fields['looked_at'].default} evaluated samples" in text
    assert f"PGD of {fields['steps'].default} steps" in text
    assert f"Square of {fields['queries'].default} queries" in text
    assert all(f"\n| {letter} | " in PAGE for letter in GRADES)

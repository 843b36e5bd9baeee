"""``gate`` and ``baseline`` through the command: every exit code, every output, and a chain of baselines."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from robustbench_wb.errors import ExitCode
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.report.sample import graded
from tests.store.make import flip_outcome, record, row, states

Command = Callable[..., tuple[str, str]]
FILE = "baselines/main.parquet"
GATE = ("gate", "--baseline", FILE)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Command) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return typed


def cells(lost: int = 0, weights: str = "old", **changes: Any) -> list[tuple[Record, ScoreRow]]:
    """Clean and attacked, of which ``lost`` of 1,000 samples are lost."""
    attacked = record(states(800 - lost, 200 + lost), weights=weights, **changes)
    clean = record(states(990, 0, 10), weights=weights, signature="clean", ladder=())
    rows = (row(clean, stressor="clean", strength=""), row(attacked))
    first, second = (made.model_copy(update={"weights": weights}) for made in rows)
    return [(clean, first), (attacked, second)]


def commit(made: list[tuple[Record | None, ScoreRow]] | list[tuple[Record, ScoreRow]], place: str = "results") -> None:
    """One more version of these cells."""
    for measured, _ in made:
        if measured is not None:
            RecordStore(place).append(measured)
    given = {"time": "2026-01-02T03:04:05+00:00", "git": {"commit": "0123456789abcdef", "dirty": False}}
    ScoreTable(place).commit([committed for _, committed in made], given)


@pytest.fixture
def pinned(command: Command) -> Command:
    """With a baseline in the folder, and a version that it was made of."""
    commit(cells())
    _, err = command("baseline", "pin", "main")
    assert err.startswith(f"pinned: {FILE}, ")
    return command


def outcomes(content: dict[str, Any]) -> list[str]:
    return [judgement["outcome"] for judgement in content["judgements"]]


def test_0_the_same_passes_without_its_store(pinned: Command, tmp_path: Path) -> None:
    commit(cells(), "elsewhere")
    (tmp_path / "results").rename(tmp_path / "gone")
    out, _ = pinned(*GATE, "--results", "elsewhere")
    assert out.startswith(f"{FILE} -> v1: passed\n")
    assert "no change: 2 of 2 records identical" in out
    assert "cells against the baseline: 2 passed" in pinned(*GATE, "--results", "elsewhere", "--full")[0]


def test_0_a_small_loss_is_undecided_with_a_warning(pinned: Command) -> None:
    commit(cells(12, "new"))
    out, _ = pinned(*GATE)
    assert out.startswith(f"{FILE} -> v2: no significant drop, but 1 of 3 decisions undecided\n")
    assert "1 undecided, which do not close the gate" in out
    assert "pgd-linf@8/255  undecided" in pinned(*GATE, "--full")[0]
    content = json.loads(pinned(*GATE, "--json")[0])
    (undecided,) = [one for one in content["judgements"] if one["outcome"] == "undecided" and one["row"]]
    assert 0.01 < undecided["smallest"] < 0.03
    out, _ = pinned(*GATE, "--strict", code=1)
    assert out.startswith(f"{FILE} -> v2: failed, a drop beyond the margin is not excluded (exit code 1)\n")


def test_1_a_drop_beyond_the_margin(pinned: Command) -> None:
    commit(cells(40, "new"))
    out, _ = pinned(*GATE, code=1)
    assert out.startswith(f"{FILE} -> v2: failed, a drop beyond the margin (exit code 1)\n")
    assert "pgd-linf@8/255   regressed" in out
    out, _ = pinned(*GATE, "--full", code=1)
    assert "pgd-linf@8/255: lost 760, 761, 762, " in out
    assert "and 20 more" in out
    content = json.loads(pinned(*GATE, "--json", code=1)[0])
    assert content["exit_code"] == 1
    (bad,) = [one for one in content["judgements"] if one["outcome"] == "regressed" and one["row"]]
    assert bad["found"]["lost_ids"] == list(range(760, 800))
    assert bad["adjusted_p"] == pytest.approx(2 * bad["p"])
    # A wider margin, from the command or for the suite.
    pinned(*GATE, "--margin", "6")
    Path("pyproject.toml").write_text("[tool.robustbench_wb.gate]\nadversarial = 6.0\n")
    pinned(*GATE)
    Path("strict.toml").write_text("default = 0.5\n")
    pinned(*GATE, "--config", "strict.toml", code=1)


def test_a_sequential_gate_says_how_many_samples_decide(pinned: Command) -> None:
    commit(cells(150, "new"))
    out, _ = pinned(*GATE, "--sequential", "--seed", "2", code=1)
    assert "2 of 2 changed cells decided with" in " ".join(out.split())
    assert re.search(r"regressed +\d+ of 1,000", out)
    for scope in ("population", "samples"):
        content = json.loads(pinned(*GATE, "--sequential", "--scope", scope, "--json", code=1)[0])
        (worse,) = [one for one in content["judgements"] if one["outcome"] == "regressed" and one["row"]]
        assert (content["sequential"], worse["stopped"]) == ({"scope": scope, "seed": 0}, "the drop exceeds the margin")
        assert 10 < worse["used"] < 200
    for options in (("--scope", "samples"), ("--seed", "1"), ("--sequential", "--scope", "all")):
        _, err = pinned(*GATE, *options, code=2)
        assert err.startswith("error: --scope")


def test_1_however_better_the_other_cells_are(pinned: Command) -> None:
    (clean, clean_row), attacked = cells(40, "new")
    better = record(states(1000, 0), weights="new", signature="clean", ladder=())
    assert clean.key == better.key  # the address is that of the inputs
    other = record(states(1000, 0), weights="newer", signature="clean", ladder=())
    commit([(other, clean_row.model_copy(update={"key": other.key, "weights": "newer"})), attacked])
    pinned(*GATE, code=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--baseline", "nowhere.parquet"), "cannot be read: No such file"),
        (("--baseline", "v9"), "there is no version 'v9'"),
        (("--baseline", FILE, "--version", "v9"), "there is no version 'v9'"),
        (("--baseline", FILE, "--margin", "-1"), "--margin = -1.0 is not a margin; give points"),
        (("--baseline", FILE, "--margin", "1", "--config", "a.toml"), "use one of them"),
        (("--baseline", FILE, "--config", "a.toml"), "a.toml cannot be read"),
        (("--baseline", FILE, "--config", "typo.toml"), "did you mean adversarial or"),
        (("--baseline", FILE, "--config", "text.toml"), "text.toml: default = a lot is not a margin"),
        (("--baseline", FILE, "--junit", "no/folder/x.xml"), "cannot be written"),
        (("--baseline", FILE, "--json", "--markdown", "-"), "cannot both write to standard output"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_2_mistakes_are_one_clear_line(arguments: tuple[str, ...], words: str, pinned: Command) -> None:
    Path("typo.toml").write_text("adversary = 2\n")
    Path("text.toml").write_text("default = 'a lot'\n")
    out, err = pinned("gate", *arguments, code=2)
    assert words in err
    assert (out, err.count("\n")) == ("", 1)


def test_2_an_edited_baseline(pinned: Command) -> None:
    flip_outcome(Path(FILE))
    for arguments in (GATE, ("baseline", "history", "main"), ("diff", FILE, "v1"), ("baseline", "promote", "main")):
        out, err = pinned(*arguments, code=2)
        assert (out, err.count("\n")) == ("", 1)
        assert FILE in err


def test_3_a_stronger_attack_is_no_regression(pinned: Command) -> None:
    commit(cells(300, "new", signature="pgd-linf;eps=8/255;steps=100"))
    out, _ = pinned(*GATE, code=3)
    assert out.startswith(f"{FILE} -> v2: failed, a cell is not comparable (exit code 3)\n")
    assert "regressed" not in out.split("not tested")[0].split("regressed: drop")[0]
    assert "signature: pgd-linf;eps=8/255;steps=40 and pgd-linf;eps=8/255;steps=100" in out


def test_4_a_failed_and_a_missing_cell(pinned: Command) -> None:
    clean, _ = cells(0, "new")
    commit([clean, (None, row(None, 1000, "SubjectError: no logits"))])
    out, _ = pinned(*GATE, code=4)
    assert out.startswith(f"{FILE} -> v2: failed, cells failed or are missing (exit code 4)\n")
    assert "incomplete (new: SubjectError: no logits): pgd-linf@8/255" in out
    commit([clean], "other")
    out, _ = pinned(*GATE, "--results", "other", code=4)
    assert "missing (the version lacks this cell of the baseline): pgd-linf@8/255" in out


def test_4_what_was_not_measured_again(command: Command) -> None:
    """A version keeps the rows of suites that its run left out: they are about another subject."""
    corrupted = record(states(900, 100), weights="old", signature="blur")
    shown = row(corrupted, suite="corruption", stressor="blur", strength="1")
    commit([*cells(), (corrupted, shown.model_copy(update={"weights": "old"}))])
    command("baseline", "pin", "main")
    commit(cells(2, "new"))
    out, _ = command(*GATE, code=4)
    assert "incomplete (measured before the model changed; run its suite again): blur@1" in out
    again = record(states(900, 100), weights="new", signature="blur")
    commit([(again, shown.model_copy(update={"weights": "new", "key": again.key}))])
    command(*GATE)


def test_4_errors_never_hide_a_regression(pinned: Command) -> None:
    made = record(states(600, 380, errored=20), weights="new")
    commit([cells(0, "new")[0], (made, row(made, error="NaN"))])
    out, _ = pinned(*GATE, code=1)
    assert re.search(r"pgd-linf@8/255 +regressed", out)
    made = record(states(790, 200, errored=10), weights="newer")
    commit([cells(0, "newer")[0], (made, row(made, error="NaN"))])
    pinned(*GATE, code=4)


@pytest.mark.parametrize(("before", "after", "code"), [("A", "C", 5), ("B", "F", 5), ("F", "F", 5), ("C", "B", 0)])
def test_5_a_number_that_may_not_be_believed(before: Any, after: Any, code: int, command: Command) -> None:
    for grade in (before, after):
        clean, (made, shown) = cells(0, "same" if grade == before else "new")
        commit([clean, (made, graded(shown, grade, "gradient", 0.5, "no gradient at 32 of 64"))])
    if before == after:
        commit(cells()[:1])
    out, _ = command("gate", "--baseline", "v1", code=code)
    assert ("a number is not credible (exit code 5)" in out) == (code == 5)
    assert ("no gradient at 32 of 64" in out) == (code == 5)


def test_what_is_known_to_be_bad_comes_first(pinned: Command) -> None:
    (clean, clean_row), (made, shown) = cells(40, "new")
    other = record(states(990, 0, 10), weights="new", signature="clean2", ladder=())
    commit([(other, clean_row.model_copy(update={"signature": "clean2", "key": other.key})), (made, shown)])
    assert outcomes(json.loads(pinned(*GATE, "--json", code=1)[0])).count("not comparable") == 1
    commit([(other, clean_row.model_copy(update={"signature": "clean2", "key": other.key})), cells(0, "x")[1]])
    pinned(*GATE, code=3)
    assert clean.key != other.key


def test_junit_has_a_case_per_cell(pinned: Command) -> None:
    commit(cells(40, "new"))
    pinned(*GATE, "--junit", "robustness.xml", code=1)
    root = Xml.parse("robustness.xml").getroot()
    (suite,) = root
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "2", "0")
    mean, clean, attacked = suite
    assert (clean.get("name"), attacked.get("name")) == ("clean", "pgd-linf@8/255")
    assert mean.get("name") == "mean of 2 cells"
    assert attacked.get("classname") == "digits small adversarial: vit-nano plain seed 0"
    (failure,) = attacked
    assert failure.get("type") == "regressed"
    assert failure.text == "lost " + ", ".join(map(str, range(760, 800)))
    assert len(clean) == 0
    commit([cells(0, "newer")[0], (None, row(None, 1000, "SubjectError: <no> & \x1b[0m logits"))])
    pinned(*GATE, "--junit", "robustness.xml", code=4)
    (error,) = Xml.parse("robustness.xml").getroot().findall(".//error")
    assert "<no> & [0m logits" in str(error.get("message"))


def test_markdown_and_github(pinned: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(cells(12, "new"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    out, err = pinned(*GATE, "--json")
    assert json.loads(out)["exit_code"] == 0
    assert err.startswith("::warning title=robustness%3A undecided::digits small adversarial: vit-nano plain seed 0: ")
    assert (
        Path("summary.md")
        .read_text()
        .startswith(f"before\n# {FILE} -&gt; v2: no significant drop, but 1 of 3 decisions undecided\n")
    )
    commit(cells(40, "newer"))
    out, err = pinned(*GATE, "--markdown", "-", code=1)
    assert err.count("::error title=robustness%3A regressed::digits small") == 2
    assert "%25" not in err
    assert "| model | cell | outcome | old -&gt; new | difference | margin | one-sided p | MDE |" in out
    assert out in Path("summary.md").read_text()
    pinned(*GATE, "--markdown", "gate.md", code=1)
    assert Path("gate.md").read_text() == out


def test_a_baseline_is_a_side_of_diff_and_of_a_report(pinned: Command) -> None:
    commit(cells(40, "new"))
    out, _ = pinned("diff", FILE, "v2", "--ids")
    assert out.startswith(f"{FILE} -> v2: worse\n")
    assert pinned("diff", FILE, "v1")[0].startswith(f"{FILE} -> v1: nothing was compared, ")
    pinned("report", FILE, "--html", "page.html")


def test_promotion_needs_to_be_shown(pinned: Command) -> None:
    before = Path(FILE).read_bytes()
    for lost, code, words in ((40, 1, "failed, a drop beyond the margin"), (15, 1, "undecided against the baseline")):
        commit(cells(lost, f"worse by {lost}"))
        out, err = pinned("baseline", "promote", "main", code=code)
        assert err.startswith("not promoted: ")
        assert words in err
        assert FILE in out
        assert Path(FILE).read_bytes() == before
    commit(cells(2, "good"))
    _, err = pinned("baseline", "promote", "main")
    assert err == f"promoted: {FILE} is now v4; commit it\n"
    _, err = pinned("baseline", "promote", "main", code=2)
    assert f"{FILE} is v4 already" in err
    out, _ = pinned("baseline", "history", "main")
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["v1", "v4"]
    assert "2026-01-02T03:04:05+00:00  0123456789" in out
    chain = json.loads(pinned("baseline", "history", "main", "--json")[0])["chain"]
    assert [one["means"] for one in chain] == [{"adversarial": 0.895}, {"adversarial": 0.894}]


def test_slow_drift_is_seen(command: Command) -> None:
    """Every step is within the margin of the one before; all together are not."""
    commit(cells(0))
    command("baseline", "pin", "main")
    for lost in (5, 10, 15):
        commit(cells(lost, f"lost {lost}"))
        command("baseline", "promote", "main", "--margin", "2")
    commit(cells(35, "lost 35"))
    out, _ = command(*GATE, "--margin", "2", code=1)
    assert "cells against the baseline: 1 passed, 1 undecided" in out
    assert "cells against the pinned ancestor: 1 passed, 1 regressed" in out
    assert "against the pinned ancestor, on digits\n" in out


def test_the_same_version_pins_the_same_bytes(pinned: Command) -> None:
    pinned("baseline", "pin", "main", "--to", "again.parquet")
    assert Path("again.parquet").read_bytes() == Path(FILE).read_bytes()
    _, err = pinned("baseline", "pin", "main", code=2)
    assert f"{FILE} exists; `baseline promote main` succeeds it" in err
    _, err = pinned("baseline", "pin", "../main", code=2)
    assert "is not a valid name of a baseline" in err


def test_what_failed_cannot_be_pinned(command: Command) -> None:
    commit([cells()[0], (None, row(None, 1000, "SubjectError: no logits"))])
    _, err = command("baseline", "pin", "main", code=4)
    assert "v1 cannot be a baseline: 1 of its cells failed" in err
    assert not Path(FILE).exists()


def test_a_crash_is_no_regression(tmp_path: Path) -> None:
    script = (
        "import sys; import robustbench_wb.cli.app as app; from robustbench_wb.__main__ import main\n"
        "def run_cli(arguments): raise ZeroDivisionError('planted')\n"
        "app.run_cli = run_cli; sys.argv = ['robustbench-wb', 'gate']; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == ExitCode.CRASHED
    assert "ZeroDivisionError: planted" in done.stderr


def test_the_page_shows_commands_and_options_that_there_are(command: Command) -> None:
    page = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    typed = [line.split("#")[0].split() for line in page.split("```bash\n")[1].split("```")[0].splitlines()]
    assert len(typed) == 6
    for _, name, *rest in typed:
        sub = [rest[0]] if name == "baseline" else []
        shown, _ = command(name, *sub, "--help")
        assert all(option in shown for option in rest if option.startswith("--"))
    shown, _ = command("gate", "--help")
    for option in ("--strict", "--config", "--margin", "--junit", "--markdown", "--json"):
        assert f"`{option}" in page
        assert option in shown
    for code in ExitCode:
        assert code in (ExitCode.HUNG_UP, ExitCode.INTERRUPTED, ExitCode.TERMINATED) or f"| {int(code)} | " in page

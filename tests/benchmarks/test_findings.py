"""Findings: made from stored outcomes, equal to a count by hand, and equal to the committed page."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from robustbench_wb.records.record import State
from robustbench_wb.store.baseline import read_baseline

ROOT = Path(__file__).parents[2]
PUBLISHED = "results/published/adversarial-digits-smoke.parquet"
QUESTIONS = """
scale = "smoke"

[[findings]]
name = "attacks"
question = "Do they resist attacks better?"
in_readme = true
than = "vit-nano standard"
models = ["bilateral-nano standard", "crate-nano standard"]
places = [{ task = "digits", suite = "adversarial", cells = "quick-linf@16/255" }]

[[findings]]
name = "missing"
question = "Do they learn words?"
than = "vit-nano standard"
models = ["rope-nano standard"]
places = [{ task = "sst2", suite = "adversarial-text", cells = "clean" }]
"""


Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Run a script in this process, since a new one takes seconds for imports: exit code and standard error."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def run(script: str, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        code = import_module(script).main()
        return code, capsys.readouterr().err

    return run


def findings(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the script as its page says."""
    command = [sys.executable, str(ROOT / "benchmarks" / "findings.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.slow(20)
def test_a_finding_is_the_paired_difference_of_the_stored_outcomes(tmp_path: Path, typed: Typed) -> None:
    (tmp_path / "questions.toml").write_text(QUESTIONS)
    asked = ("--questions", str(tmp_path / "questions.toml"), "--version", PUBLISHED)
    given = (*asked, "--to", str(tmp_path))
    done = findings(*given)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "findings.md").read_text()

    table = read_baseline(ROOT / PUBLISHED)
    keys = {row.variant: row.key for row in table.rows if row.cell == "quick-linf@16/255"}
    robust = {name: table.records[key].states == State.ROBUST for name, key in keys.items()}
    for name, verdict in (("bilateral", "better"), ("crate", "worse")):
        difference = 100 * np.mean(robust[name].astype(int) - robust["vit"].astype(int))
        line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {difference:+.1f} [" in line
        assert line.endswith(f"n {len(robust[name])}, this checkpoint (seed 0) | {verdict} |")
    told = "Better than vit: bilateral (digits); worse than vit: crate (digits). **Largest difference: crate, "
    assert f"\n{told}digits quick-linf@16/255, -" in page
    assert "Of 3 statements 2 are measured." in page
    assert [file.name for file in (tmp_path / "findings").iterdir()] == ["attacks.svg"]
    assert "\nNot measured yet.\n" in page

    one = findings("missing", *given)
    assert one.stdout.strip() == page[page.index("## 2.") :].strip()
    wrong = typed("findings", "crate", *given)
    assert wrong == (2, "there is no finding 'crate'; there are attacks, missing\n")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with README and the page of findings as the committed evidence makes them, from one computation."""
    # A file that says nothing of it yet, and another text beside it, come out as README.
    text = (ROOT / "README.md").read_text()
    empty = re.sub(r"(?s)(<!-- findings -->\n).*?(<!-- end of findings -->)", r"\1- old\n\2", text)
    readme = tmp_path / "README.md"
    readme.write_text(re.sub(r"(?s)(\$ robustbench-wb leaderboard \S+\n).*?(```)", r"\1old\n\2", empty))
    assert len(readme.read_text()) < len(text) - 2000
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "evidence_readme.py"),
        str(readme),
        "--findings",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return tmp_path


@pytest.mark.slow(20)
def test_the_committed_texts_are_made_from_the_committed_evidence(written: Path) -> None:
    assert (written / "findings.md").read_text() == (ROOT / "docs" / "findings.md").read_text()
    drawn = {file.name for file in (written / "findings").iterdir()}
    assert drawn == {file.name for file in (ROOT / "docs" / "findings").iterdir()}

    text = (ROOT / "README.md").read_text()
    assert (written / "README.md").read_text() == text
    assert "Better than vit: bilateral" in text.split("<!-- findings -->")[1].split("<!-- end of findings -->")[0]
    command = "$ robustbench-wb leaderboard results/evidence/fashion-mnist.parquet\n"
    assert "Robust accuracy (%) on fashion-mnist" in text.split(command)[1].split("```")[0]

    # A number about layers is the mean over seeds of what their rows say.
    rows = read_baseline(ROOT / "results" / "evidence" / "digits.parquet").rows
    own = [row for row in rows if (row.suite, row.variant, row.cell) == ("layers", "crate", "clean")]
    means = [json.loads(row.layers)["measures"]["sparsity"]["mean"] for row in own]
    assert len(means) == 5
    section = (written / "findings.md").read_text().partition("Does CRATE sparsify")[2]
    change = float(np.mean([one[-1] - one[0] for one in means]))
    assert (
        f"| crate | digits clean | share of nonzero entries of the code, last layer minus first: {change:+.3g} ["
        in section
    )


def cli(*arguments: str) -> str:
    """What a command prints in the root of the repository."""
    done = subprocess.run(
        [sys.executable, "-m", "robustbench_wb", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow(10)
def test_the_committed_leaderboards_are_made_from_the_committed_evidence(tmp_path: Path) -> None:
    place = ROOT / "results" / "evidence"
    files = {"--markdown": "leaderboard.md", "--ranking-csv": "ranking.csv"}
    asked = [word for option, name in files.items() for word in (option, str(tmp_path / name))]
    cli("leaderboard", "results/evidence", "--over-seeds", *asked)
    for name in files.values():
        assert (tmp_path / name).read_text() == (place / name).read_text(), name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('scale = "smoke"\nfindings = [', "cannot be read: Invalid value (at end of document)"),
        (QUESTIONS.replace("places", "place"), "findings.0.place is unknown; did you mean places or layers?"),
        (QUESTIONS.replace('suite = "adversarial"', "suite = 3"), "findings.0.places.0.suite must be text, not 3"),
        (QUESTIONS.replace('than = "vit-nano standard"\n', ""), "a question has either than or layers"),
        (QUESTIONS.replace('"missing"', '"attacks"'), "two findings have the name 'attacks'"),
        (
            QUESTIONS.replace('"attacks"', '"../attacks"'),
            "findings.0.name names a file: it has letters, digits",
        ),
        (QUESTIONS.replace('"missing"', '"/tmp/missing"'), "findings.1.name names a file"),
        (QUESTIONS.replace("crate-nano standard", "crate is worse"), "cannot read 'crate is worse is better than"),
    ],
)
def test_a_broken_file_of_questions_is_one_line(tmp_path: Path, content: str, message: str, typed: Typed) -> None:
    (tmp_path / "questions.toml").write_text(content)
    asked = ("--questions", str(tmp_path / "questions.toml"), "--version", PUBLISHED)
    code, told = typed("findings", *asked, "--to", str(tmp_path))
    assert code == 2
    assert message in told
    assert len(told.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["questions.toml"]


@pytest.mark.slow(4)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no marks", "needs the marks <!-- findings --> and <!-- end of findings -->, in this order and once each"),
        ("<!-- end of findings --><!-- findings -->", "in this order and once each"),
        (
            "<!-- findings -->\n<!-- end of findings -->\n```\n$ robustbench-wb leaderboard nope\n```\n",
            "leaderboard nope failed with exit code 2",
        ),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_readme_that_cannot_be_written_anew_is_left_as_it_is(
    tmp_path: Path, content: str | None, message: str, typed: Typed
) -> None:
    readme, questions = tmp_path / "README.md", tmp_path / "questions.toml"
    questions.write_text(QUESTIONS)
    if content is not None:
        readme.write_text(content)
    code, told = typed("evidence_readme", str(readme), "--questions", str(questions), "--version", PUBLISHED)
    assert (code, told.splitlines()[-1].endswith(message)) == (2, True), told
    assert (readme.read_text() if readme.exists() else None) == content

"""The evidence: a session that is killed and one that is short, and what they publish in the end."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

import pytest

from robustbench_wb.analysis.claims.sentence import read_claims
from robustbench_wb.engine.changed_numbers import find_variant
from robustbench_wb.engine.experiment import read_experiment
from robustbench_wb.engine.plan import make_plan
from robustbench_wb.records.names import variant_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.baseline import read_baseline
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.suites.suite import find_suite
from tests.store.make import record, row

ROOT = Path(__file__).parents[2]
EXPERIMENT = """
tasks = "digits"
variants = ["vit", "crate"]
suites = "adversarial"
recipes = "standard;epochs=1"
stressors = ["fgsm-linf;eps=8/255", "gaussian-noise;severity=3"]
samples = 40
device = "cpu"

[[include]]
suites = "corruption"

[[include]]
tasks = "imdb-lm"
suites = "contamination-language"

[[include]]
seeds = 1
"""


def session(folder: Path, hours: float, cache: str, *options: str) -> subprocess.Popen[str]:
    """A session through the public door, without data for texts."""
    given = [str(folder / "experiment.toml"), "--hours", str(hours), "--to", str(folder), "--data-dir", str(folder)]
    given += options
    return subprocess.Popen(
        [sys.executable, "-m", "nox", "-s", "evidence", "--", *given],
        cwd=ROOT,
        env={**os.environ, "RBWB_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def outcomes(folder: Path) -> dict[object, tuple[str, float | None]]:
    """Key and accuracy of each published row."""
    rows = read_baseline(folder / "digits.parquet").rows
    return {row.slot: (row.key, row.accuracy) for row in rows}


def begun(folder: Path) -> list[ScoreRow]:
    table = ScoreTable(str(folder / "work" / "digits"))
    return table.rows() if table.exists() else []


@pytest.mark.slow(90)
def test_a_killed_session_is_continued_and_publishes_what_an_unbroken_one_does(tmp_path: Path) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    for folder in (unbroken, killed):
        folder.mkdir()
        (folder / "experiment.toml").write_text(EXPERIMENT)
    # Two at once, of which one has no data and ends first.
    both = [session(unbroken, 1, str(tmp_path / "cache"), "--task", task) for task in ("digits", "imdb-lm")]
    outputs = [finished(process) for process in both]
    assert ["new evaluations" in output for output in outputs] == [True, False]

    process = session(killed, 1, str(tmp_path / "other cache"))
    until = time.monotonic() + 120
    while not begun(killed) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 0 < len(begun(killed)) < 12
    assert not (killed / "digits.parquet").exists()

    assert "published" in finished(session(killed, 0, str(tmp_path / "other cache")))
    half = (killed / "STATUS.md").read_text()
    assert "| not begun |" in half
    assert 0 < len(outcomes(killed)) < 12

    output = finished(session(killed, 1, str(tmp_path / "other cache")))
    assert not re.search(r" 1 of \d+, digits vit standard;epochs=1 seed 0", output)  # finished before
    assert outcomes(killed) == outcomes(unbroken)
    page = (killed / "STATUS.md").read_text()
    assert "**18 of 18 evaluations are published**" in page
    assert "2 suites of a model cannot be run here" in page
    assert "imdb" in page.partition("contamination-language cannot be run: ")[2].partition("\n")[0]
    # Files hold how long a cell took, so that their compressed sizes differ by some bytes.
    texts = (page, (unbroken / "STATUS.md").read_text())
    pages = [re.sub(r"\| \d+\.\d\d \| \d+ \|", "| MB | bytes |", text) for text in texts]
    assert "| MB | bytes |" in pages[0]
    assert pages[0].replace(f"{killed}/", f"{unbroken}/") == pages[1]
    assert "DATA_DIR has no folder for it" in page  # and not where it is on this machine

    fresh = tmp_path / "fresh"  # a clone on another machine has the published tables alone
    fresh.mkdir()
    for name in ("experiment.toml", "digits.parquet"):
        shutil.copy(killed / name, fresh)
    assert "new evaluations" not in finished(session(fresh, 1, str(tmp_path / "third cache")))
    assert outcomes(fresh) == outcomes(killed)
    assert "**18 of 18 evaluations are published**" in (fresh / "STATUS.md").read_text()

    verify = [sys.executable, "-m", "robustbench_wb", "verify", str(killed)]
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_task_that_the_experiment_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    script = [sys.executable, "benchmarks/evidence.py", str(tmp_path / "experiment.toml"), "--hours", "1"]
    given = [*script, "--to", str(tmp_path / "out"), "--task", "digts"]
    told = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.strip().endswith("has no task digts; it has digits, imdb-lm")
    assert not (tmp_path / "out").exists()


def test_the_experiment_measures_every_claim_of_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    experiment = read_experiment("results/evidence/experiment.toml")
    measured: dict[tuple[str | None, str | None], dict[str, str]] = {}
    for one in experiment.combinations:
        if one.recipe == "standard":
            place = (one.task, find_suite(one.suite).name)
            model = row(record([0]), variant=find_variant(one.variant, "nano").name)
            measured.setdefault(place, {})[f"{variant_name(model)} standard"] = one.suite
    for place, claims in groupby(read_claims("results/claims.toml").claims, lambda claim: (claim.task, claim.suite)):
        suite = next(iter(measured[place].values()))
        fields = {"suite": suite, "tasks": (place[0],), "variants": ("vit",)}
        (task,) = make_plan(experiment.settings.model_copy(update=fields)).tasks
        rungs = [rung for ladder in task.ladders for rung in ladder.rungs]
        rows = [row(record([0], signature=r.signature), stressor=r.label, strength=r.strength) for r in rungs]
        for claim in claims:
            named = [model for model in (claim.subject, claim.than) if model is not None]
            models = {f"{model.name} {model.recipe}" for model in named}
            assert models <= measured[place].keys(), claim
            assert all(any(claim.covers(cell, one) for one in rows) for cell in claim.cells), claim

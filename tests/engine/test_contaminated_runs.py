"""Whole runs with contaminations of the training split: what is trained, what is reused, and what cannot be had."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from robustbench_wb.api import run as harness
from robustbench_wb.api.run import RunResult
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import ExitCode
from robustbench_wb.folders import cache_folder
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.checkpoint import load_checkpoint
from tests.engine.linear_model import LINEAR
from tests.known import known
from tests.stressors.contamination.training_data import contaminated

NOISE, RATES = "label-noise;rate=1/5", ("0", "1/5", "4/5")
TRAINED = 1437


@pytest.fixture(scope="module", autouse=True)
def own_cache(cache: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of this module's own, where its models are not trained yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBWB_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of one layer."""
    path = tmp_path_factory.mktemp("contaminated") / "own.py"
    path.write_text(LINEAR)
    return f"{path}:make"


def request(variant: str, *stressors: str, **changes: object) -> RunRequest:
    fields = {"variants": (variant,), "stressors": stressors, "samples": 200, "device": "cpu"}
    return RunRequest.model_validate({**fields, **changes})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("contaminated") / "results")


@pytest.fixture(scope="module")
def first(own: str, results: str) -> RunResult:
    """Label noise at three rates."""
    return harness.run(request(own, NOISE, epsilons=RATES), results)


def file_of(weights: str) -> Path:
    """A checkpoint in the cache with these weights."""
    files = sorted(cache_folder("checkpoints").glob("*.safetensors"))
    return next(file for file in files if (found := load_checkpoint(file)) and found[1].weights == weights)


@pytest.mark.slow(3)
def test_every_rate_is_a_subject_of_its_own(first: RunResult) -> None:
    assert first.exit_code == ExitCode.OK
    clean, none, some, most = first.rows
    assert [row.strength for row in first.rows] == ["", *RATES]
    assert {row.stressor for row in first.rows[1:]} == {"label-noise:symmetric"}
    # Rate 0 is the clean subject, weights and all: it is not trained again.
    assert (first.trained, first.measured) == (3, 4)
    assert none.weights == clean.weights
    assert known(none.accuracy) == known(clean.accuracy) > known(some.accuracy) > known(most.accuracy)
    assert len({clean.weights, some.weights, most.weights}) == 3
    assert [row.realised for row in first.rows[1:]] == [round(Fraction(rate) * TRAINED) / TRAINED for rate in RATES]
    assert clean.realised is None


@pytest.mark.slow(2)
def test_all_is_found_again_and_another_seed_is_trained(first: RunResult, own: str, results: str) -> None:
    again = harness.run(request(own, NOISE, epsilons=RATES), results)
    assert (again.trained, again.measured, again.reused) == (0, 0, 4)
    assert [row.key for row in again.rows] == [row.key for row in first.rows]
    other = harness.run(request(own, NOISE, seed=1), results)
    assert (other.trained, other.measured) == (2, 2)
    assert other.rows[1].weights != first.rows[2].weights


@pytest.mark.slow(3)
def test_it_was_trained_on_the_contaminated_split(first: RunResult, digits: Dataset) -> None:
    for row, rate in zip(first.rows[1:], RATES, strict=True):
        found = load_checkpoint(file_of(row.weights))
        assert found is not None
        train = contaminated(f"label-noise;rate={rate}", digits).dataset.train
        assert found[1].identity["data"] == train.digest()


def test_a_backdoor_is_trained_once_and_obeyed(first: RunResult, own: str, results: str) -> None:
    planted = [f"{name};rate=1/10;target=3" for name in ("backdoor", "backdoor-clean")]
    report = harness.run(request(own, *planted), results)
    clean, stamped, plain = report.rows
    assert report.trained == 1
    assert stamped.weights == plain.weights != clean.weights
    assert stamped.realised == plain.realised == 144 / TRAINED
    assert (clean.obeyed, plain.obeyed) == (None, None)
    assert known(stamped.obeyed) > 0.9
    assert known(stamped.accuracy) < 0.25
    assert abs(known(plain.accuracy) - known(clean.accuracy)) < 0.05
    record = RecordStore(results).find([stamped.key])[stamped.key]
    assert stamped.obeyed == record.evidence["hit"] / record.evidence["aimed"]


@pytest.mark.parametrize("given", ["--recipe", "--checkpoint"])
def test_given_weights_cannot_be_contaminated(
    given: str, first: RunResult, own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {"--recipe": "none", "--checkpoint": str(file_of(first.rows[0].weights))}[given]
    command = ["run", "--variant", own, "--stressor", NOISE, "--epsilon", "1/5", "--epsilon", "2/5", given, weights]
    place = str(tmp_path / "r")
    assert run_cli([*command, "--samples", "20", "--device", "cpu", "--results", place]) == ExitCode.INCOMPLETE
    reason = f"label-noise needs a subject that is trained; the weights of {own} are given"
    assert reason in " ".join(capsys.readouterr().out.split())
    rows = ScoreTable(place).rows()
    assert [(row.status, row.error) for row in rows] == [("ok", ""), ("error", reason), ("error", reason)]


def test_what_a_task_cannot_have_is_an_error_row(first: RunResult, own: str, tmp_path: Path) -> None:
    asked = request(own, "backdoor;rate=1/10;size=9", "human-labels", NOISE, data_dir=str(tmp_path / "none"))
    report = harness.run(asked, str(tmp_path / "r"))
    assert [row.status for row in report.rows] == ["ok", "error", "error", "ok"]
    assert report.rows[1].error == "backdoor: a patch of 9 pixels does not fit images of 8x8"
    assert report.rows[2].error.startswith("human-labels: data folder ")

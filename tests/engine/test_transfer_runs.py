"""Whole runs with a surrogate: what is trained, what is kept, and what changes the identity of a cell."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from robustbench_wb import source
from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import app
from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.engine.plan import SubjectPlan, make_plan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.subject import Subject
from robustbench_wb.engine.surrogates import Surrogates
from robustbench_wb.errors import ExitCode, UsageError
from robustbench_wb.progress import Progress
from robustbench_wb.records.record import SubjectCard
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.tasks.task import Dataset
from tests.engine.linear_model import LINEAR
from tests.known import known

MODEL = f"""{LINEAR}

class Constant(Linear):
    def forward(self, images):
        return 0 * super().forward(images)

def constant(shape):
    return Constant(shape)
"""
BALL = "24/255"


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., str]:
    """A function that writes the file above at a scale, and names a factory in it."""

    def write(name: str = "own.py", factory: str = "make", scale: str = "1.0") -> str:
        (tmp_path / name).write_text(MODEL.replace("SCALE = 1.0", f"SCALE = {scale}"))
        source.forget()
        return f"{tmp_path / name}:{factory}"

    return write


def request(*variants: str, sources: tuple[str, ...] = (), more: tuple[str, ...] = (), **changes: object) -> RunRequest:
    transfers = tuple(f"transfer-linf;eps={BALL};source={name}" for name in sources)
    fields = {"variants": variants, "stressors": (*more, *transfers), "samples": 120, "device": "cpu"}
    return RunRequest.model_validate({**fields, **changes})


@pytest.mark.slow(3)
def test_the_command_judges_images_of_one_model_on_another(model: Callable[..., str], tmp_path: Path) -> None:
    own, other = model(), model("other.py", scale="2.0")
    command = ["run", "--variant", own, "--samples", "120", "--device", "cpu", "--progress", "none", "--json"]
    for stressor in (f"pgd-linf;eps={BALL}", *(f"transfer-linf;eps={BALL};source={name}" for name in (own, other))):
        command += ["--stressor", stressor]
    results = str(tmp_path / "r")
    done = CliRunner().invoke(app, [*command, "--results", results])
    assert done.exit_code == 0, done.output
    clean, white, itself, crossed = ScoreTable(results).rows()
    assert [row.stressor for row in (itself, crossed)] == [f"transfer-linf:{name}" for name in (own, other)]
    assert {row.status for row in (clean, white, itself, crossed)} == {"ok"}
    assert abs(known(itself.accuracy) - known(white.accuracy)) <= 0.02
    assert known(white.accuracy) < known(crossed.accuracy) < known(clean.accuracy)
    assert (itself.wobble, crossed.wobble) == (0, 0)
    # The subject is asked once a run, and in the verdict.
    for record in RecordStore(results).find([itself.key, crossed.key]).values():
        assert record.forwards.max() == 3
        assert record.backwards.max() == 0
        assert record.evidence["surrogate/forwards"] == 21 * (record.forwards[record.forwards > 0] - 1).sum()
    again = CliRunner().invoke(app, [*command, "--results", results])
    assert "0 new evaluations, 4 reused" in again.output


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_the_batch_changes_nothing(batch: int, model: Callable[..., str], tmp_path: Path) -> None:
    own, other = model(), model("other.py", scale="2.0")
    stores = []
    for size in (batch, 64):
        results = str(tmp_path / str(size))
        report = harness.run(request(own, sources=(other,), batch=size, samples=10), results)
        stores.append(RecordStore(results).find([row.key for row in report.rows]))
    assert stores[0].keys() == stores[1].keys()
    for key, record in stores[0].items():
        np.testing.assert_array_equal(record.states, stores[1][key].states)
        np.testing.assert_array_equal(record.forwards, stores[1][key].forwards)


@pytest.mark.slow(4)
def test_another_surrogate_measures_its_cells_again_and_no_others(model: Callable[..., str], tmp_path: Path) -> None:
    own, other, results = model(), model("other.py", scale="2.0"), str(tmp_path / "r")

    def run(**changes: object) -> tuple[int, int]:
        report = harness.run(request(own, sources=(other,), more=("fgsm-linf;eps=8/255",), **changes), results)
        return report.measured, report.reused

    assert run() == (3, 0)
    assert run(variants=(own, other)) == (3, 3)  # that the surrogate is tested as well is no matter
    model("other.py", scale="2.0  # as before")
    assert run() == (0, 3)
    model("other.py", scale="0.5")
    assert run() == (1, 2)


def test_the_identity_covers_weights_and_code_of_the_surrogate(digits: Dataset) -> None:
    stressor, plain = parse_stressor("transfer-linf;eps=8/255;source=vit"), parse_stressor("pgd-linf;eps=8/255")
    (plan,) = make_plan(RunRequest(variants=("vit",))).tasks[0].subjects

    def code(weights: str, code: str, seconds: float = 0.0, fresh: bool = False) -> str:
        card = SubjectCard(parameters=1, weights=weights, train_seconds=seconds, trained=fresh)
        subject = Subject(card=card, model_code=code, dataset=digits, make=nn.Identity)
        surrogates = Surrogates([plan], lambda plan: subject)
        assert surrogates.code(plain) == plain.code()
        return surrogates.code(stressor)

    assert code("a", "b") == code("a", "b", 9.0, True)
    assert len({code("a", "b"), code("x", "b"), code("a", "x"), stressor.code()}) == 4


@pytest.mark.slow(3)
def test_a_surrogate_is_had_once_and_shared_with_the_subject_that_it_is(
    model: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    had: list[str] = []
    obtain = PreparedRun.obtain

    def counted(self: PreparedRun, subject: SubjectPlan, dataset: Dataset, progress: Progress) -> Subject:
        had.append(subject.name)
        return obtain(self, subject, dataset, progress)

    monkeypatch.setattr(PreparedRun, "obtain", counted)
    own, other, third = model(), model("other.py", scale="2.0"), model("third.py", scale="3.0")
    report = harness.run(request(own, other, sources=(own, third), samples=20), str(tmp_path / "r"))
    assert report.exit_code == ExitCode.OK
    assert sorted(had) == sorted([own, other, third])


def test_a_surrogate_that_cannot_be_had_costs_its_own_cells_only(model: Callable[..., str], tmp_path: Path) -> None:
    own, other = model(), model("bad.py", factory="raises")
    asked = request(own, sources=(other, own), more=("fgsm-linf;eps=8/255",))
    report = harness.run(asked, str(tmp_path / "r"))
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [row.status for row in report.rows] == ["ok", "ok", "error", "ok"]
    failed = report.rows[2]
    assert failed.error.startswith("no surrogate: ")
    assert "another planet" in failed.error
    assert (failed.stressor, failed.accuracy) == (f"transfer-linf:{other}", None)
    assert harness.run(asked, str(tmp_path / "r")).reused == 3


def test_a_constant_surrogate_transfers_nothing(model: Callable[..., str], tmp_path: Path) -> None:
    blind = model("blind.py", factory="constant")
    report = harness.run(request(model(), sources=(blind,), recipe="none"), str(tmp_path / "r"))
    clean, crossed = report.rows
    assert crossed.accuracy == known(clean.accuracy) > 0
    assert crossed.broken == 0


def test_strengths_are_a_ladder(model: Callable[..., str], tmp_path: Path) -> None:
    own, other = model(), model("other.py", scale="2.0")
    ladder = ("8/255", "48/255", "24/255")
    rows = list(harness.run(request(own, sources=(other,), epsilons=ladder), str(tmp_path / "r")).rows)
    accuracies = [known(row.accuracy) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert [row.strength for row in rows[1:]] == ["8/255", "8/85", "16/85"]
    assert known(accuracies[-1]) < known(accuracies[0])


def test_the_surrogate_is_trained_also_where_the_subject_is_given(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"")
    (task,) = make_plan(request("vit", sources=("vit", "crate"), checkpoint=str(weights), size="tiny")).tasks
    assert [plan.recipe_name for plan in task.subjects] == ["checkpoint"]
    assert [(plan.name, plan.recipe_name, plan.checkpoint) for plan in task.surrogates] == [
        ("vit", "standard", None),
        ("crate", "standard", None),
    ]
    assert {plan.size for plan in task.surrogates} == {"tiny"}


def test_an_unknown_surrogate_is_refused_before_any_work(model: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean vit"):
        harness.run(request(model(), sources=("vitt",)), str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


@pytest.mark.slow(2)
def test_of_a_random_surrogate_means_are_taken(model: Callable[..., str], tmp_path: Path) -> None:
    assert BatchSize(64).beside(BatchSize(8, draws=20)) == BatchSize(8, draws=20)
    noisy = model("noisy.py").removesuffix(":make")
    text = MODEL.replace("images.flatten(1) - 0.3", "images.flatten(1) + 0.3 * torch.randn_like(images.flatten(1))")
    Path(noisy).write_text(text)
    results = str(tmp_path / "r")
    report = harness.run(request(model(), sources=(f"{noisy}:make",), samples=20), results)
    record = RecordStore(results).find([report.rows[1].key])[report.rows[1].key]
    asked = record.forwards[record.forwards > 0]
    assert record.evidence["surrogate/forwards"] == 20 * 21 * ((asked - 1) // 20).sum()

"""The text suite end to end: from the command line to error rows."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from robustbench_wb.api import run as harness
from robustbench_wb.cli.app import app
from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from tests.known import known

NO_TABLE = """
from torch import nn
class Bag(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.words = nn.EmbeddingBag(shape.vocabulary, shape.classes, padding_idx=0)
    def forward(self, tokens):
        return self.words(tokens)
def make(shape):
    return Bag(shape)
"""
VECTORS = ["embedding-fgsm-linf", "embedding-pgd-linf", "embedding-fgsm-l2", "embedding-pgd-l2"]


def request(**more: object) -> RunRequest:
    given = {"suite": "adversarial-text", "recipe": "none", "samples": 24, "device": "cpu"}
    return RunRequest(**{**given, **more})


@pytest.mark.slow(3)
def test_the_command_needs_no_further_options(tmp_path: Path) -> None:
    command = ["run", "--suite", "adversarial-text", "--recipe", "none", "--samples", "8", "--results", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--device", "cpu", "--progress", "none", "--full"])
    assert done.exit_code == 0, done.output
    assert "sentences, smoke scale: robust accuracy in percent" in done.output
    for word in (*VECTORS, "hotflip", "random-flip", "word-substitution", "character-edits", "random-swap"):
        assert word in done.output
    assert "bert-nano" in done.output
    assert "crate-bert-nano" in done.output


@pytest.mark.slow(5)
def test_no_cell_moves_with_the_batch(tmp_path: Path) -> None:
    reports = [
        harness.run(request(variants=("bert",), batch=batch), results=str(tmp_path / str(batch))) for batch in (5, 64)
    ]
    one, other = ([(row.stressor, row.strength, row.accuracy, row.key) for row in report.rows] for report in reports)
    assert one == other
    assert {row.status for row in reports[0].rows} == {"ok"}
    assert {row.wobble for row in reports[0].rows} == {0}


@pytest.mark.slow(1)
def test_a_model_without_word_vectors_gets_error_rows_and_is_attacked_as_a_black_box(tmp_path: Path) -> None:
    (tmp_path / "bag.py").write_text(NO_TABLE)
    report = harness.run(request(variants=(f"{tmp_path}/bag.py:make",)), results=str(tmp_path / "r"))
    failed = {row.stressor for row in report.rows if row.status != "ok"}
    assert failed == {*VECTORS, "hotflip"}
    lines = {row.error for row in report.rows if row.error}
    assert len(lines) == 1
    assert "Bag has no word embedding layer (get_input_embeddings)" in lines.pop()


@pytest.mark.slow(4)
def test_a_model_of_transformers_is_attacked_by_its_own_tokens(hf_folder: Path, tmp_path: Path) -> None:
    report = harness.run(request(variants=(f"hf:{hf_folder}",)), results=str(tmp_path / "r"))
    assert {row.status for row in report.rows} == {"ok"}
    clean, *others = report.rows
    broken = {row.stressor for row in others if known(row.accuracy) < known(clean.accuracy)}
    assert {"hotflip", "embedding-pgd-linf", "word-substitution", "character-edits"} <= broken


@pytest.mark.parametrize(
    ("task", "lacking"),
    [
        ("digits", "token ids with labels"),
        ("digits-sequence", "texts with labels"),
        ("sentences-lm", "token ids with labels"),
    ],
)
def test_tasks_without_labelled_texts_are_refused(task: str, lacking: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"perturbs {lacking}, and task '{task}' has none"):
        harness.run(request(tasks=(task,)), results=str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_a_request_overrides_what_a_suite_proposes() -> None:
    plan = make_plan(request())
    assert [task.task.name for task in plan.tasks] == ["sentences"]
    assert [subject.name for subject in plan.tasks[0].subjects] == ["bert", "crate-bert"]
    plan = make_plan(request(tasks=("sst2",), variants=("vit",), stressors=("hotflip",), epsilons=("3", "1")))
    assert [task.task.name for task in plan.tasks] == ["sst2"]
    assert [rung.signature for rung in plan.tasks[0].ladders[1].rungs] == [
        "hotflip;budget=1;candidates=16",
        "hotflip;budget=3;candidates=16",
    ]
    assert next(subject.name for subject in make_plan(RunRequest()).tasks[0].subjects) == "vit"
    with pytest.raises(UsageError, match="budget"):
        make_plan(request(stressors=("hotflip",), epsilons=("1/2",)))

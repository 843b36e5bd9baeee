"""Whole runs on text classifiers with planted fake defences, which must be graded down, and on an honest one."""

import json
from pathlib import Path

import pytest

from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import SilentProgress
from tests.engine.planted import DEAD, Attack, attacker, failed

DEFENCES = (
    DEAD
    + '''


class Honest(nn.Module):
    """Linear classifier on the mean of the word vectors."""

    def __init__(self, shape):
        super().__init__()
        self.table, self.head = nn.Embedding(shape.vocabulary, 16), nn.Linear(16, shape.classes)

    def get_input_embeddings(self):
        return self.table

    def defend(self, vectors):
        return vectors

    def forward(self, tokens):
        keep = (tokens != 0).float()[:, :, None]
        return self.head((self.defend(self.table(tokens)) * keep).sum(1) / keep.sum(1).clamp(min=1))


class ZeroGradient(Honest):
    def defend(self, vectors):
        return Dead.apply(vectors)


class Quantised(Honest):
    def defend(self, vectors):
        return (4 * vectors).round() / 4


class Scaled(Honest):
    def forward(self, tokens):
        return 1000 * super().forward(tokens)


class Noisy(Honest):
    def defend(self, vectors):
        return vectors + 0.5 * torch.randn_like(vectors)


class NoGrad(Honest):
    def forward(self, tokens):
        with torch.no_grad():
            votes = super().forward(tokens).argmax(1)
        return nn.functional.one_hot(votes, self.head.out_features).float()


class Probabilities(Honest):
    def forward(self, tokens):
        return super().forward(tokens).softmax(1)
'''
)
pytestmark = [pytest.mark.slow, pytest.mark.full_probe]
STRESSORS = (
    "embedding-fgsm-linf;eps=1/4",
    "embedding-pgd-linf;eps=1/4",
    "hotflip;budget=1",
    "random-flip;budget=1;draws=20",
    "word-substitution;rate=1/10;queries=30",
)


@pytest.fixture(scope="module")
def run(cache: str, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    """Function that attacks a class of the source above, with the weights of the honest model."""
    folder: Path = tmp_path_factory.mktemp("text-defences")
    honest = folder / "honest.py"
    honest.write_text(DEFENCES)
    job = PreparedRun(
        RunRequest(suite="adversarial-text", variants=(f"{honest}:Honest",), device="cpu"), SilentProgress()
    )
    model = job.obtain(job.plan.tasks[0].subjects[0], job.datasets[0]).model
    return attacker(folder, DEFENCES, model.state_dict(), STRESSORS, tasks=("sentences",))


@pytest.mark.parametrize(
    ("defence", "grades", "reasons"),
    [
        ("ZeroGradient", "F", {"gradient", "large ball", "black box"}),
        ("Quantised", "F", {"gradient", "large ball", "black box"}),
        ("NoGrad", "F", {"gradient", "large ball"}),
        ("Scaled", "F", {"cross-entropy", "black box"}),
        ("Probabilities", "C", {"logits"}),
        ("Noisy", "BC", {"deterministic"}),
    ],
)
def test_a_fake_defence_is_reported_in_every_row(defence: str, grades: str, reasons: set[str], run: Attack) -> None:
    for row in run(defence):
        assert row.status == "ok", row.error
        assert row.grade in grades, failed(row)
        assert reasons <= failed(row).keys(), failed(row)


def test_an_honest_model_is_graded_down_only_for_want_of_an_ensemble(run: Attack) -> None:
    fgsm, pgd, hotflip, flip, words = run("Honest")
    for row in (pgd, hotflip, words):
        assert set(failed(row)) == {"strongest"}, failed(row)
        assert row.grade == "B"
        assert all(check["samples"] > 0 for check in json.loads(row.checks))
    assert (fgsm.accuracy or 0) >= (pgd.accuracy or 0)
    assert (flip.accuracy or 0) >= (hotflip.accuracy or 0)

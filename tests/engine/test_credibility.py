"""Whole runs on planted fake defences, which must be graded down, and on honest models, which must not."""

import json
from collections.abc import Callable

import pytest
from torch import nn

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from tests.engine.planted import DEAD, Attack, attacker, failed
from tests.known import known

DEFENCES = (
    DEAD
    + '''
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS


class Defended(nn.Module):
    """A vit after standard training, with the same weights in every class below."""

    def __init__(self, shape):
        super().__init__()
        self.inner = build(VARIANTS.get("vit"), "nano", shape, mean=[0.5], std=[0.5], seed=0)

    def forward(self, images):
        return self.inner(images)


class ZeroGradient(Defended):
    def forward(self, images):
        return self.inner(Dead.apply(images))


class Quantised(Defended):
    def forward(self, images):
        return self.inner((images * 8).round() / 8)


class Scaled(Defended):
    def forward(self, images):
        return 1000 * self.inner(images)


class Noisy(Defended):
    def forward(self, images):
        return self.inner(images + 0.15 * torch.randn_like(images))


class NoGrad(Defended):
    def forward(self, images):
        with torch.no_grad():
            votes = self.inner(images).argmax(1)
        return nn.functional.one_hot(votes, 10).float()


class Probabilities(Defended):
    def forward(self, images):
        return self.inner(images).softmax(1)
'''
)
BALL = "16/255"
pytestmark = [pytest.mark.slow, pytest.mark.full_probe]
STRESSORS = ("noise-linf;draws=3", "fgsm-linf", "pgd-linf;steps=20", "quick-linf")


@pytest.fixture(scope="module")
def run(trained: Callable[[str], nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Attack:
    """Function that attacks a class of the source above, with the weights of the trained vit."""
    weights = {f"inner.{name}": tensor for name, tensor in trained("vit").state_dict().items()}
    return attacker(tmp_path_factory.mktemp("defences"), DEFENCES, weights, STRESSORS, epsilons=(BALL,))


@pytest.mark.parametrize(
    ("defence", "grades", "reasons"),
    [
        ("ZeroGradient", "F", {"gradient", "large ball", "black box"}),
        ("Quantised", "F", {"gradient", "large ball", "black box"}),
        ("NoGrad", "F", {"gradient", "large ball"}),
        ("Probabilities", "CF", {"logits"}),
    ],
)
def test_a_fake_defence_is_reported_in_every_row(defence: str, grades: str, reasons: set[str], run: Attack) -> None:
    for row in run(defence):
        assert row.status == "ok"
        assert row.grade in grades
        assert reasons <= failed(row).keys(), failed(row)


def test_scaled_logits_lower_only_attacks_without_another_loss_to_c(run: Attack) -> None:
    rows = {row.stressor: row for row in run("Scaled")}
    assert all("cross-entropy" in failed(row) for row in rows.values())
    assert failed(rows["fgsm-linf"])["attack gradient"] == "C"
    assert rows["quick-linf"].grade == "B", failed(rows["quick-linf"])
    # The classes are those of the model without the scale, and so is its number.
    *_, quick = run("Defended")
    assert abs(known(rows["quick-linf"].accuracy) - known(quick.accuracy)) <= 1 / 120
    (alone,) = run("Scaled", stressors=("pgd-linf;steps=20;loss=ce",))
    assert {"cross-entropy": "C", "attack gradient": "C"}.items() <= failed(alone).items()


def test_a_random_defence_is_averaged_and_reported(run: Attack) -> None:
    (row,) = run("Noisy", samples=24, stressors=("pgd-linf;steps=5",))
    assert row.status == "ok"
    assert failed(row)["deterministic"] == "B"
    assert row.forwards > 20 * 5  # the mean of twenty passes is one output


def test_an_honest_model_gets_an_a(run: Attack) -> None:
    noise, fgsm, pgd, quick = run("Defended")
    assert quick.grade == "A", failed(quick)
    # The accuracy under a weaker attack is too high, and its row states by how much.
    assert [row.grade for row in (noise, fgsm, pgd)] == ["C", "C", "B"]
    assert [set(failed(row)) for row in (noise, fgsm, pgd)] == [{"strongest"}] * 3
    assert [row.accuracy for row in (noise, fgsm, pgd, quick)] == sorted(
        (known(row.accuracy) for row in (noise, fgsm, pgd, quick)), reverse=True
    )
    for check in json.loads(quick.checks):
        assert check["samples"] > 0


@pytest.mark.slow(35)
def test_an_adversarially_trained_model_gets_an_a(tmp_path_factory: pytest.TempPathFactory) -> None:
    request = RunRequest(
        variants=("vit;depth=2",),
        recipe="pgd-at;step=1/2;steps=3",
        stressors=("quick-linf",),
        epsilons=("32/255",),
        samples=120,
        device="cpu",
    )
    clean, quick = harness.run(request, str(tmp_path_factory.mktemp("trained") / "results")).rows
    assert quick.grade == "A", failed(quick)
    assert quick.low is not None
    assert quick.low > 0.5
    assert (clean.accuracy or 0) - (quick.accuracy or 0) < 0.4


def test_reused_records_have_the_same_grades(run: Attack) -> None:
    first, second = run("Scaled"), run("Scaled")
    assert [(row.key, row.grade, row.checks) for row in first] == [(row.key, row.grade, row.checks) for row in second]


def test_a_weak_attack_is_graded_by_the_gap_to_a_strong_one(run: Attack) -> None:
    noise, pgd = run("Defended", stressors=("noise-linf;draws=1", "pgd-linf;steps=20"))
    assert (noise.grade, pgd.grade) == ("C", "B")
    assert "points less; read this as an upper bound" in json.loads(noise.checks)[-1]["reason"]
    assert "no ensemble" in json.loads(pgd.checks)[-1]["reason"]

"""Grades under a saturated cross-entropy: it blinds attacks that have no other loss, and only those."""

from dataclasses import replace

import pytest

from robustbench_wb.engine.credibility.grade import GradedCell, grade_cell
from robustbench_wb.engine.credibility.search_losses import search_losses
from robustbench_wb.records.credibility import CredibilityCheck
from robustbench_wb.stressors.catalogue import parse_stressor
from tests.store.make import record

N = 60
PROBE: dict[str, float] = {
    **{"probed": N, "random": 0, "probabilities": 0, "slopes": 8, "slope_wrong": 0},
    **{"large_ball_held": 0, "black_box_only": 0, "blind_ce": N, "blind_margin": 0},
}
"""Evidence of a model whose cross-entropy has no gradient at any sample, and whose margin has one at all."""


def checks(signature: str, probe: dict[str, float], **evidence: float) -> dict[str, CredibilityCheck]:
    attack = parse_stressor(signature)
    made = replace(record([0] * N, signature=attack.signature), evidence=evidence)
    cell = GradedCell(attack, made)
    return {check.name: check for check in grade_cell(cell, [cell], probe).checks}


@pytest.mark.parametrize(
    ("signature", "losses"),
    [
        ("noise-linf;eps=8/255", set()),
        ("fgsm-linf;eps=8/255", {"ce"}),
        ("pgd-linf;eps=8/255;loss=ce", {"ce"}),
        ("pgd-linf;eps=8/255", {"margin", "ce"}),
        ("apgd-linf;eps=8/255;loss=dlr", {"dlr"}),
        ("apgd-t-l2;eps=1/2", {"margin"}),
        ("fmn-l2;eps=1/2", {"margin"}),
        ("square-linf;eps=8/255", {"margin"}),
        ("embedding-pgd-linf;eps=1/4", {"ce"}),
        ("autoattack-linf;eps=8/255", {"ce", "margin"}),
    ],
)
def test_losses_of_an_attack(signature: str, losses: set[str]) -> None:
    assert search_losses(parse_stressor(signature)) == losses


@pytest.mark.parametrize(
    ("signature", "grade"),
    [
        ("fgsm-linf;eps=8/255", "C"),
        ("pgd-linf;eps=8/255;loss=ce", "C"),
        ("apgd-linf;eps=8/255", "C"),
        ("pgd-linf;eps=8/255", "B"),
        ("pgd-linf;eps=8/255;loss=margin", "B"),
        ("quick-linf;eps=8/255", "B"),
    ],
)
def test_a_saturated_cross_entropy_lowers_an_attack_without_another_loss_to_c(signature: str, grade: str) -> None:
    assert checks(signature, PROBE)["cross-entropy"].grade == grade


def vanished(signature: str, *, of: int, count: int, **members: int) -> CredibilityCheck:
    evidence = {"samples": of, "gradients": of, "zero_gradients": count - count // 2, "tiny_gradients": count // 2}
    return checks(signature, PROBE, **evidence, **members)["attack gradient"]


def test_gradients_that_vanish_in_an_attack_by_cross_entropy_alone_count() -> None:
    check = vanished("pgd-linf;eps=8/255;loss=ce", of=N, count=N)
    assert (check.grade, check.value) == ("C", 1)


def test_gradients_of_an_ensemble_count_beyond_those_of_the_cross_entropy() -> None:
    quick = parse_stressor("quick-linf;eps=8/255")
    given = {f"{member}/samples": N for member in quick.members}  # type: ignore[attr-defined]
    # Members by cross-entropy are FGSM and one PGD, those by the margin another PGD and targeted APGD.
    saturated = vanished(quick.signature, of=4 * N, count=2 * N, **given)
    assert (saturated.grade, saturated.value) == ("A", 0)
    assert f"up to {2 * N} of them in the cross-entropy" in saturated.reason
    blind = vanished(quick.signature, of=4 * N, count=4 * N, **given)
    assert (blind.grade, blind.value) == ("C", 1)
    some = vanished(quick.signature, of=4 * N, count=2 * N + 6, **given)
    assert (some.grade, some.value) == ("C", 6 / (2 * N))


def test_randomness_alone_allows_a_b_and_changed_outcomes_a_c() -> None:
    random = {**PROBE, "blind_ce": 0, "random": 1}
    attack = parse_stressor("quick-linf;eps=8/255")
    quiet = record([0] * N, signature=attack.signature)
    grades = []
    for made in (quiet, replace(quiet, wobble=5)):
        cell = GradedCell(attack, made)
        grades.append(grade_cell(cell, [cell], random).grade)
    assert grades == ["B", "C"]

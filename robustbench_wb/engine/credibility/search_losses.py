"""Losses by which an attack searches: a saturated cross-entropy blinds only attacks that have no other loss."""

from typing import Final

from robustbench_wb.stressors.attacks.ensemble import EnsembleAttack
from robustbench_wb.stressors.attacks.minimum_norm import MinimumNormAttack
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.attacks.sparse_rs import SparseRs
from robustbench_wb.stressors.attacks.spsa import Spsa
from robustbench_wb.stressors.attacks.square import SquareAttack
from robustbench_wb.stressors.attacks.targeted import TargetedAttack
from robustbench_wb.stressors.stressor import Stressor

CROSS_ENTROPY: Final = "ce"
"""Name of the cross-entropy, whose gradient underflows for large logits."""
_BY_LOGIT_DIFFERENCES: Final = (TargetedAttack, MinimumNormAttack, SquareAttack, Spsa, SparseRs)
"""Attacks that search by differences of logits, which do not saturate."""


def search_losses(attack: Stressor) -> frozenset[str]:
    """Names of the losses by which an attack searches; of an ensemble, those of all members.

    An attack that does not state its loss is taken to search by the cross-entropy, which is graded more strictly.
    Random controls search by no loss.
    """
    if isinstance(attack, EnsembleAttack):
        return frozenset().union(*(search_losses(member) for member in attack.attacks))
    if attack.kind == "control":
        return frozenset()
    if isinstance(attack, PixelAttack):  # all of its losses are functions of the softmax
        return frozenset({CROSS_ENTROPY})
    if isinstance(attack, _BY_LOGIT_DIFFERENCES):
        return frozenset({"margin"})
    loss = str(getattr(attack, "loss", CROSS_ENTROPY))
    return frozenset({"margin", CROSS_ENTROPY}) if loss == "both" else frozenset({loss})


def is_blinded_by_saturation(attack: Stressor) -> bool:
    """Whether a model with a saturated cross-entropy blinds the whole attack."""
    return search_losses(attack) == {CROSS_ENTROPY}

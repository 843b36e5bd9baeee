"""Strong ensemble: close to AutoAttack for a small share of its passes."""

from typing import ClassVar

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.ensemble import EnsembleAttack


class StrongEnsemble(EnsembleAttack):
    """The attacks of AutoAttack with short budgets, after two cheap ones.

    APGD toward nine classes takes most of the budget, in runs of 30 steps. FAB and Square have few steps and queries:
    they search differently, so that a failure of APGD is noticed.
    """

    members = (
        "fgsm",
        "pgd;steps=20;step=1/8;loss=margin;initial=image",
        "apgd;steps=30;loss=ce",
        "apgd-t;steps=30;targets=9",
        "fab;steps=20;targets=3",
        "square;queries=300",
    )


class StrongLinf(StrongEnsemble):
    """The strong ensemble under a bound on the largest pixel change."""

    name: ClassVar[str] = "strong-linf"
    norm: ClassVar[Norm] = LINF


class StrongL2(StrongEnsemble):
    """The strong ensemble under a bound on the Euclidean length."""

    name: ClassVar[str] = "strong-l2"
    norm: ClassVar[Norm] = L2_NORM

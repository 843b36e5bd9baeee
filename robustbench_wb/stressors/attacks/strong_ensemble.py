"""Strong ensemble in Linf: close to AutoAttack for a small share of its passes."""

from typing import ClassVar

from robustbench_wb.norms import LINF, Norm
from robustbench_wb.stressors.attacks.ensemble import EnsembleAttack


class StrongLinf(EnsembleAttack):
    """The attacks of AutoAttack with short budgets, after two cheap ones, under a bound on the largest pixel change.

    APGD toward nine classes takes most of the budget, in runs of 30 steps. FAB and Square have few steps and queries:
    they search differently, so that a failure of APGD is noticed.
    """

    name: ClassVar[str] = "strong-linf"
    norm: ClassVar[Norm] = LINF
    members = (
        "fgsm",
        "pgd;steps=20;step=1/8;loss=margin;initial=image",
        "apgd;steps=30;loss=ce",
        "apgd-t;steps=30;targets=9",
        "fab;steps=20;targets=3",
        "square;queries=300",
    )

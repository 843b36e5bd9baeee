"""Strong ensemble in L2: close to AutoAttack for a small share of its passes."""

from typing import ClassVar

from robustbench_wb.norms import L2_NORM, Norm
from robustbench_wb.stressors.attacks.ensemble import EnsembleAttack


class StrongL2(EnsembleAttack):
    """The attacks of AutoAttack with short budgets, after two cheap ones, and FMN, under a bound on Euclidean length.

    In L2, short runs of APGD can stop before the decision boundary. FMN and FAB follow the boundary itself, and FAB has
    more steps and classes than in Linf.
    """

    name: ClassVar[str] = "strong-l2"
    norm: ClassVar[Norm] = L2_NORM
    members = (
        "fgsm",
        "pgd;steps=20;step=1/8;loss=margin;initial=image",
        "apgd;steps=30;loss=ce",
        "fmn;steps=90",
        "apgd-t;steps=30;targets=9",
        "fab;steps=40;targets=5",
        "square;queries=300",
    )

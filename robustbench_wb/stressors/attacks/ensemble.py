"""Ensembles: several attacks in sequence, cheap before expensive, each on the samples that earlier ones did not
break."""

from collections import Counter
from typing import ClassVar

import numpy as np
import torch

from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.stressors.attacks.attack import BallBoundedStressor
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor


class EnsembleAttack(BallBoundedStressor):
    """Worst case over the member attacks, sample by sample.

    The evidence holds the number of samples that each member was given (``NAME/samples``) and broke (``NAME/broken``),
    and the sums of the members' own counts.
    """

    kind = "ensemble"
    members: ClassVar[tuple[str, ...]]
    """Signatures without norm and radius, like ``pgd;loss=margin``, in order of cost."""

    @property
    def attacks(self) -> tuple[Stressor, ...]:
        """Member attacks at the radius of the ensemble."""
        names = (member.partition(";") for member in self.members)
        return tuple(
            parse_stressor(f"{name}-{self.norm.name};eps={self.eps}{more}{rest}") for name, more, rest in names
        )

    @property
    def passes(self) -> tuple[int, int]:
        """Forward passes and input gradients of all members together."""
        spent = [attack.passes or (0, 0) for attack in self.attacks]
        return sum(forwards for forwards, _ in spent), sum(backwards for _, backwards in spent)

    def code(self) -> str:
        """Digest of the source of the ensemble and of all its members."""
        return "+".join(dict.fromkeys([super().code(), *(attack.code() for attack in self.attacks)]))

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Run the members in order, each on the samples that are still correct."""
        count = len(batch.ids)
        found = batch.inputs.clone()
        broken, failed = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        forwards, backwards = np.zeros(count, np.int32), np.zeros(count, np.int32)
        evidence: Counter[str] = Counter()
        for member, attack in zip(self.members, self.attacks, strict=True):
            left = ~broken & ~failed
            part = batch.select(left)
            perturbed = attack.apply(part, access.silent())
            attack.check(part.inputs, perturbed.inputs)
            found[torch.from_numpy(left).to(found.device)] = perturbed.inputs
            forwards[left] += perturbed.forwards
            backwards[left] += perturbed.backwards
            evidence.update(perturbed.evidence)
            evidence[f"{member}/samples"] += int(left.sum())
            evidence[f"{member}/broken"] += int(perturbed.broken.sum()) if perturbed.broken is not None else 0
            broken[left] = perturbed.broken
            failed[left] = perturbed.failed if perturbed.failed is not None else False
            access.advance(int((broken | failed)[left].sum()))
        access.advance(int((~broken & ~failed).sum()))
        return PerturbedBatch(
            inputs=found,
            forwards=forwards,
            backwards=backwards,
            broken=broken,
            failed=failed,
            evidence=dict(evidence),
        )


class QuickEnsemble(EnsembleAttack):
    """Ensemble for a CPU (minutes): one-step attack, PGD with both losses, targeted APGD, and a short black-box
    attack."""

    members = (
        "fgsm",
        "pgd;steps=20;step=1/8;loss=margin",
        "pgd;steps=20;step=1/8;loss=ce",
        "apgd-t;steps=20;targets=3",
        "square;queries=500",
    )


class QuickLinf(QuickEnsemble):
    """The quick ensemble under a bound on the largest pixel change."""

    name: ClassVar[str] = "quick-linf"
    norm: ClassVar[Norm] = LINF


class QuickL2(QuickEnsemble):
    """The quick ensemble under a bound on the Euclidean length."""

    name: ClassVar[str] = "quick-l2"
    norm: ClassVar[Norm] = L2_NORM


class AutoAttack(EnsembleAttack):
    """AutoAttack's standard composition and settings (Croce & Hein 2020, section 5)."""

    members = (
        "apgd;steps=100;loss=ce",
        "apgd-t;steps=100;targets=9",
        "fab;steps=100;targets=9",
        "square;queries=5000",
    )


class AutoAttackLinf(AutoAttack):
    """AutoAttack under a bound on the largest pixel change."""

    name: ClassVar[str] = "autoattack-linf"
    norm: ClassVar[Norm] = LINF


class AutoAttackL2(AutoAttack):
    """AutoAttack under a bound on the Euclidean length."""

    name: ClassVar[str] = "autoattack-l2"
    norm: ClassVar[Norm] = L2_NORM

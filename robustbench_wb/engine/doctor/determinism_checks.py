"""Checks that an answer depends on its own input alone: not on the mode, on chance, on time or on its neighbours."""

import torch
from torch import Tensor, nn

from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel, spread
from robustbench_wb.models.weights import weights_digest

REPEAT_TOLERANCE = 1e-6
"""Largest difference of two equal passes, as a share of the logits' spread; up to :data:`WOBBLE` it is a warning."""
WOBBLE = 1e-4
BATCH_TOLERANCE = 1e-3
"""Largest difference between batches: sums are rounded in another order there."""


def eval_mode(patient: ExaminedModel) -> DoctorFinding:
    """After ``.eval()`` no module is in training mode, and a pass changes neither weights nor buffers."""
    model = patient.model.eval()
    stuck = [name or type(model).__name__ for name, module in model.named_modules() if module.training]
    if stuck:
        kinds = sorted({type(module).__name__ for module in model.modules() if module.training})
        return DoctorFinding(
            check="eval mode",
            verdict="fail",
            measured=f"in training mode after .eval(): {', '.join(stuck[:3])} ({', '.join(kinds[:3])})",
            fix="do not set module.training or override train(): let .eval() switch dropout and batch norm off",
        )
    before = weights_digest(model.state_dict())
    patient.ask(patient.few)
    if weights_digest(model.state_dict()) != before:
        return DoctorFinding(
            check="eval mode",
            verdict="fail",
            measured="a pass in eval mode changes the model's buffers",
            fix="update running statistics in training only: pass training=self.training to functional batch norm",
        )
    return DoctorFinding(check="eval mode", verdict="ok", measured="all modules in eval mode; a pass changes no state")


def determinism(patient: ExaminedModel) -> DoctorFinding:
    """Two passes over the same inputs give the same logits."""
    torch.manual_seed(1)
    first = patient.ask(patient.few)
    second = patient.ask(patient.few)
    difference = _apart(first, second)
    measured = f"two passes differ by {difference:.1e} of the logits' spread"
    if difference <= REPEAT_TOLERANCE:
        return DoctorFinding(check="determinism", verdict="ok", measured=measured)
    if difference <= WOBBLE:
        fix = "use deterministic kernels if verdicts on the edge matter: the order of sums changes from pass to pass"
        return DoctorFinding(check="determinism", verdict="warn", measured=measured, fix=fix)
    torch.manual_seed(1)
    if _apart(first, patient.ask(patient.few)) > REPEAT_TOLERANCE:
        fix = "take out what depends on time or on earlier calls, or use deterministic kernels"
    elif any(isinstance(module, nn.modules.dropout._DropoutNd) for module in patient.model.modules()):
        fix = "pass training=self.training to functional dropout, and leave dropout modules to .eval()"
    else:
        fix = (
            "draw no random numbers in forward when not self.training: pass training=self.training to dropout and noise"
        )
    return DoctorFinding(check="determinism", verdict="fail", measured=measured, fix=fix)


def batch_invariance(patient: ExaminedModel) -> DoctorFinding:
    """Samples one by one, all together, and beside other companions get the same logits."""
    torch.manual_seed(1)
    few = patient.few
    together = patient.ask(few)
    alone = torch.cat([patient.ask(few[i : i + 1]) for i in range(len(few))])
    strange = torch.cat([few[:1], 1 - few[1:]]) if patient.images else few[:1].repeat(len(few), 1)
    beside = patient.ask(strange)[:1]
    difference = max(_apart(together, alone), _apart(together[:1], beside, spread(together)))
    measured = f"alone or in company, logits differ by {difference:.1e} of their spread"
    if difference <= BATCH_TOLERANCE:
        return DoctorFinding(check="batch invariance", verdict="ok", measured=measured)
    fix = "compute no statistic over the batch: batch norm needs its running statistics (training=False)"
    return DoctorFinding(check="batch invariance", verdict="fail", measured=measured, fix=fix)


def _apart(one: Tensor, other: Tensor, scale: float = 0.0) -> float:
    """Largest difference as a share of the spread; infinite when one of them is not finite."""
    difference = float((one.double() - other.double()).abs().max())
    return difference / (scale or spread(one)) if difference == difference else float("inf")

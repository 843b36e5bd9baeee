"""Checks that logits depend on their own input alone: not on the mode, random numbers, earlier calls or the batch."""

import torch
from torch import Tensor, nn

from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel, logit_spread
from robustbench_wb.models.weights import weights_digest, weights_of
from robustbench_wb.training.lone_sample import raises_on_one

REPEAT_TOLERANCE = 1e-6
"""Largest difference between two equal passes that counts as none, relative to ``logit_spread``."""
REPEAT_WARNING = 1e-4
"""Largest difference between two equal passes that is only a warning, relative to ``logit_spread``."""
BATCH_TOLERANCE = 1e-3
"""Largest difference between batches, relative to ``logit_spread``: other batches round sums in another order."""


def check_eval_mode(examined: ExaminedModel) -> DoctorFinding:
    """Check that ``.eval()`` reaches every module, and that a forward pass changes neither weights nor buffers."""
    model = examined.model.eval()
    stuck = [name or type(model).__name__ for name, module in model.named_modules() if module.training]
    if stuck:
        kinds = sorted({type(module).__name__ for module in model.modules() if module.training})
        return DoctorFinding(
            check="eval mode",
            verdict="fail",
            measured=f"in training mode after .eval(): {', '.join(stuck[:3])} ({', '.join(kinds[:3])})",
            fix="do not set module.training or override train(): let .eval() switch dropout and batch norm off",
        )
    before = weights_digest(weights_of(model))
    examined.logits(examined.first_inputs)
    if weights_digest(weights_of(model)) != before:
        return DoctorFinding(
            check="eval mode",
            verdict="fail",
            measured="a forward pass in eval mode changes the model's buffers",
            fix="update running statistics in training only: pass training=self.training to functional batch norm",
        )
    measured = "all modules in eval mode; a forward pass changes no weight or buffer"
    return DoctorFinding(check="eval mode", verdict="ok", measured=measured)


def check_determinism(examined: ExaminedModel) -> DoctorFinding:
    """Check that two forward passes over the same inputs give the same logits, and name the cause if they do not."""
    torch.manual_seed(1)
    first = examined.logits(examined.first_inputs)
    second = examined.logits(examined.first_inputs)
    difference = _relative_difference(first, second)
    measured = f"two passes differ by {difference:.1e} of the logits' spread"
    if difference <= REPEAT_TOLERANCE:
        return DoctorFinding(check="determinism", verdict="ok", measured=measured)
    if difference <= REPEAT_WARNING:
        fix = "use deterministic kernels if samples close to the decision boundary matter: sums are not always"
        fix += " computed in the same order"
        return DoctorFinding(check="determinism", verdict="warn", measured=measured, fix=fix)
    torch.manual_seed(1)
    if _relative_difference(first, examined.logits(examined.first_inputs)) > REPEAT_TOLERANCE:
        fix = "remove what depends on time or on earlier calls, or use deterministic kernels"
    elif any(isinstance(module, nn.modules.dropout._DropoutNd) for module in examined.model.modules()):
        fix = "pass training=self.training to functional dropout, and leave dropout modules to .eval()"
    else:
        fix = (
            "draw no random numbers in forward when not self.training: pass training=self.training to dropout and noise"
        )
    return DoctorFinding(check="determinism", verdict="fail", measured=measured, fix=fix)


def check_batch_invariance(examined: ExaminedModel) -> DoctorFinding:
    """Check that a sample has the same logits alone, in the batch of all samples, and in a batch of other samples."""
    torch.manual_seed(1)
    inputs = examined.first_inputs
    together = examined.logits(inputs)
    alone = torch.cat([examined.logits(inputs[i : i + 1]) for i in range(len(inputs))])
    others = torch.cat([inputs[:1], 1 - inputs[1:]]) if examined.is_image else inputs[:1].repeat(len(inputs), 1)
    among_others = examined.logits(others)[:1]
    difference = max(
        _relative_difference(together, alone),
        _relative_difference(together[:1], among_others, logit_spread(together)),
    )
    measured = f"logits differ by {difference:.1e} of their spread between batches"
    if difference <= BATCH_TOLERANCE:
        if raises_on_one(examined.model, inputs[:1]):
            measured += "; training leaves out a last batch of one sample, which batch normalisation cannot take"
        return DoctorFinding(check="batch invariance", verdict="ok", measured=measured)
    fix = "compute no statistic over the batch: batch norm needs its running statistics (training=False)"
    return DoctorFinding(check="batch invariance", verdict="fail", measured=measured, fix=fix)


def _relative_difference(first: Tensor, second: Tensor, scale: float = 0.0) -> float:
    """Largest absolute difference over ``scale`` (0: the spread of ``first``); infinite if a logit is not finite."""
    difference = float((first.double() - second.double()).abs().max())
    return difference / (scale or logit_spread(first)) if difference == difference else float("inf")

"""Checks that the model's classes are those of the task, in the order of the task."""

import numpy as np

from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel

NAME = "class order"
MIN_REORDERED_ACCURACY = 0.5
"""Accuracy above which another order of the classes is taken for the model's own order."""


def check_class_order(examined: ExaminedModel) -> DoctorFinding:
    """Compare the model's class names with the task's. Without names, look for a better order in the confusion matrix.

    The best one-to-one assignment of outputs to classes is found by the Hungarian method. The check fails if it
    classifies more than half of the samples and more than twice as many as the given order.
    """
    if examined.shape.causal:
        return DoctorFinding(check=NAME, verdict="skipped", measured="the model predicts token ids, not classes")
    fix = "put the outputs into the order of the task's classes: " + ", ".join(examined.classes[:6])
    fix += ", ..." if len(examined.classes) > 6 else ""
    names = _model_class_names(examined)
    if names and sorted(names) == sorted(_normalised(examined.classes)):
        if names == _normalised(examined.classes):
            return DoctorFinding(check=NAME, verdict="ok", measured="the model's class names are the task's")
        return DoctorFinding(
            check=NAME, verdict="fail", measured=f"the model's classes are {', '.join(names[:6])}", fix=fix
        )
    from scipy.optimize import linear_sum_assignment

    predicted = examined.batched_logits(examined.inputs).argmax(1)
    confusion = np.zeros((examined.shape.classes,) * 2, np.int64)
    np.add.at(confusion, (examined.labels.cpu().numpy(), predicted.cpu().numpy()), 1)
    rows, columns = linear_sum_assignment(-confusion)
    total = max(1, int(confusion.sum()))
    given, best = int(np.trace(confusion)) / total, int(confusion[rows, columns].sum()) / total
    measured = f"accuracy {given:.0%}, {best:.0%} with the best reordering of the classes"
    if best > MIN_REORDERED_ACCURACY and best > 2 * given:
        return DoctorFinding(check=NAME, verdict="fail", measured=measured, fix=fix)
    if best <= MIN_REORDERED_ACCURACY:
        return DoctorFinding(
            check=NAME, verdict="skipped", measured=f"{measured}: the model does not classify this task"
        )
    return DoctorFinding(check=NAME, verdict="ok", measured=measured)


def check_head(examined: ExaminedModel) -> DoctorFinding:
    """Warn if the model provider replaced the classification head by a new, untrained one."""
    if not getattr(examined.model, "fresh_head", False):
        return DoctorFinding(check="head", verdict="ok", measured=f"{examined.shape.classes} classes, not replaced")
    return DoctorFinding(
        check="head",
        verdict="warn",
        measured=f"the head for {examined.shape.classes} classes is new and untrained",
        fix="train the model with a recipe: runs with recipe none are refused",
    )


def _model_class_names(examined: ExaminedModel) -> tuple[str, ...]:
    """Class names that a model of transformers or timm carries, normalised; empty if it has none."""
    inner = getattr(examined.model, "model", examined.model)
    table = getattr(getattr(inner, "config", None), "id2label", None)
    if isinstance(table, dict):
        return _normalised(tuple(str(table[key]) for key in sorted(table)))
    given = (getattr(inner, "pretrained_cfg", None) or {}).get("label_names")
    return _normalised(tuple(map(str, given))) if given else ()


def _normalised(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names in lower case, with single spaces in place of underscores and other white space."""
    return tuple(" ".join(name.lower().replace("_", " ").split()) for name in names)

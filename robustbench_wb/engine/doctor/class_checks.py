"""Checks that the model's classes are the task's, in the task's order."""

import numpy as np

from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel

NAME = "class order"
MATCHED = 0.5
"""Accuracy that another order of the classes must reach to be believed."""


def class_order(patient: ExaminedModel) -> DoctorFinding:
    """Do the model's own class names, or its confusions, say that columns stand in another order?"""
    if patient.shape.causal:
        return DoctorFinding(check=NAME, verdict="skipped", measured="the answers are token ids")
    fix = "put the columns into the order of the task's classes: " + ", ".join(patient.classes[:6])
    fix += ", ..." if len(patient.classes) > 6 else ""
    names = _own_names(patient)
    if names and sorted(names) == sorted(_plain(patient.classes)):
        if names == _plain(patient.classes):
            return DoctorFinding(check=NAME, verdict="ok", measured="the model's class names are the task's")
        return DoctorFinding(
            check=NAME, verdict="fail", measured=f"the model's classes are {', '.join(names[:6])}", fix=fix
        )
    from scipy.optimize import linear_sum_assignment

    said = patient.ask_many(patient.inputs).argmax(1)
    confusion = np.zeros((patient.shape.classes,) * 2, np.int64)
    np.add.at(confusion, (patient.labels.cpu().numpy(), said.cpu().numpy()), 1)
    rows, columns = linear_sum_assignment(-confusion)
    total = max(1, int(confusion.sum()))
    plain, best = int(np.trace(confusion)) / total, int(confusion[rows, columns].sum()) / total
    measured = f"accuracy {plain:.0%}, {best:.0%} under the best other order"
    if best > MATCHED and best > 2 * plain:
        return DoctorFinding(check=NAME, verdict="fail", measured=measured, fix=fix)
    if best <= MATCHED:
        return DoctorFinding(check=NAME, verdict="skipped", measured=f"{measured}: it does not classify this task yet")
    return DoctorFinding(check=NAME, verdict="ok", measured=measured)


def head(patient: ExaminedModel) -> DoctorFinding:
    """Was the last layer made for this task just now?"""
    if not getattr(patient.model, "fresh_head", False):
        return DoctorFinding(check="head", verdict="ok", measured=f"{patient.shape.classes} classes, as it came")
    return DoctorFinding(
        check="head",
        verdict="warn",
        measured=f"the head for {patient.shape.classes} classes is new and untrained",
        fix="train it by a recipe: recipe none is refused",
    )


def _own_names(patient: ExaminedModel) -> tuple[str, ...]:
    """Class names of a model of transformers or timm; empty when it has none."""
    inner = getattr(patient.model, "model", patient.model)
    table = getattr(getattr(inner, "config", None), "id2label", None)
    if isinstance(table, dict):
        return _plain(tuple(str(table[key]) for key in sorted(table)))
    given = (getattr(inner, "pretrained_cfg", None) or {}).get("label_names")
    return _plain(tuple(map(str, given))) if given else ()


def _plain(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(name.lower().replace("_", " ").split()) for name in names)

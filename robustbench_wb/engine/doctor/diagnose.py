"""The whole examination: build the subject, run every check, forecast the suite."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from robustbench_wb.engine.batch import ENOUGH
from robustbench_wb.engine.doctor import (
    class_checks,
    cost,
    determinism_checks,
    gradient_checks,
    input_checks,
    output_checks,
)
from robustbench_wb.engine.doctor.diagnosis import Diagnosis, DoctorFinding, Forecast
from robustbench_wb.engine.doctor.examined_model import LABELLED, LOOKED_AT, ExaminedModel
from robustbench_wb.engine.doctor.forecast import forecast, time_finding
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.subject import as_taken, untrained
from robustbench_wb.engine.task_samples import choose_samples
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.tasks.task import Dataset

PATIENCE = 2.0
"""Seconds that one pass over the labelled samples may take; a slow model gets fewer of them."""
FEWEST = 32


@dataclass(frozen=True)
class _Check:
    name: str
    look: Callable[[ExaminedModel], DoctorFinding]
    needs: tuple[str, ...] = ()
    """Checks that must not have failed for this one to mean anything."""


CHECKS = (
    _Check("answers", output_checks.answers),
    _Check("dtype", output_checks.number_format, ("answers",)),
    _Check("finite", output_checks.finite, ("answers",)),
    _Check("logits", output_checks.are_logits, ("answers",)),
    _Check("eval mode", determinism_checks.eval_mode, ("answers",)),
    _Check("determinism", determinism_checks.determinism, ("answers",)),
    _Check("batch invariance", determinism_checks.batch_invariance, ("answers", "determinism")),
    _Check("gradient", gradient_checks.gradient, ("answers",)),
    _Check("finite differences", gradient_checks.slope, ("answers", "determinism", "gradient")),
    _Check("input range", input_checks.input_range, ("answers",)),
    _Check("normalisation", input_checks.normalisation, ("answers",)),
    _Check("class order", class_checks.class_order, ("answers",)),
    _Check("head", class_checks.head, ("answers",)),
)


def diagnose(job: PreparedRun) -> Diagnosis:
    """Examine the first subject of a prepared request on its first task. It is not trained.

    Raises:
        CheckpointError: the given checkpoint cannot be used.
    """
    plan, dataset = job.plan.tasks[0].subjects[0], job.datasets[0]
    findings: list[DoctorFinding] = []
    cost_of_suite: Forecast | None = None
    parameters = 0
    total = len(CHECKS) + 3
    with torch.random.fork_rng(), job.progress.stage(f"doctor {plan.name}", total, "checks") as advance:
        try:
            with as_measurement_error(plan.name):
                patient = _admit(job, dataset)
        except MeasurementError as error:
            fix = "make the factory return a torch.nn.Module for the shape it is given"
            findings.append(DoctorFinding(check="build", verdict="fail", measured=str(error), fix=fix))
        else:
            parameters = sum(parameter.numel() for parameter in patient.model.parameters())
            findings.append(DoctorFinding(check="build", verdict="ok", measured=f"{parameters:,} parameters"))
            advance(1)
            findings += examine(patient, advance)
            more, cost_of_suite = _costs(job, dataset, patient, findings)
            findings += more
    return Diagnosis(
        subject=plan.name,
        size=plan.size,
        task=dataset.label,
        device=str(job.device),
        parameters=parameters,
        findings=tuple(findings),
        forecast=cost_of_suite,
    )


def _admit(job: PreparedRun, dataset: Dataset) -> ExaminedModel:
    """Model and samples on the device."""
    plan = job.plan.tasks[0].subjects[0]
    dataset = as_taken(plan, dataset)
    model = untrained(plan, dataset, job.plan.seed)
    model.to(job.device).eval().requires_grad_(False)
    samples = choose_samples(dataset, LABELLED)
    return ExaminedModel(
        model=model,
        shape=dataset.shape,
        inputs=to_inputs(samples.inputs, job.device),
        labels=torch.from_numpy(samples.labels).to(job.device),
        classes=dataset.classes,
    )


def examine(patient: ExaminedModel, advance: Callable[[int], None]) -> list[DoctorFinding]:
    """Every check in order; one whose ground is gone is skipped, one that raises has failed."""
    findings: dict[str, DoctorFinding] = {}
    for check in CHECKS:
        broken = [name for name in check.needs if findings[name].verdict == "fail"]
        if broken:
            measured = f"means nothing before {broken[0]} is right"
            findings[check.name] = DoctorFinding(check=check.name, verdict="skipped", measured=measured)
        else:
            findings[check.name] = _guarded(check, patient)
        if check.name == "answers" and findings["answers"].verdict == "ok":
            patient = _affordable(patient)
        advance(1)
    return list(findings.values())


def _guarded(check: _Check, patient: ExaminedModel) -> DoctorFinding:
    try:
        with as_measurement_error("the model"):
            return check.look(patient)
    except MeasurementError as error:
        fix = "make the model take any batch of valid inputs, with and without gradients"
        return DoctorFinding(check=check.name, verdict="fail", measured=str(error), fix=fix)


def _affordable(patient: ExaminedModel) -> ExaminedModel:
    """Fewer labelled samples for a slow model."""
    started = time.perf_counter()
    patient.ask(patient.few)
    each = (time.perf_counter() - started) / LOOKED_AT
    return patient.first(max(FEWEST, int(PATIENCE / max(each, 1e-9))))


def _costs(
    job: PreparedRun, dataset: Dataset, patient: ExaminedModel, findings: list[DoctorFinding]
) -> tuple[list[DoctorFinding], Forecast | None]:
    """Memory and time, of a model that output_checks."""
    if any(finding.check == "answers" and finding.verdict == "fail" for finding in findings):
        measured = "means nothing before answers is right"
        return [DoctorFinding(check=name, verdict="skipped", measured=measured) for name in ("memory", "time")], None
    batch = job.request.batch or ENOUGH
    memory = _guarded(_Check("memory", lambda p: cost.memory(p, batch)), patient)
    try:
        speed = cost.speed(patient, batch)
    except MeasurementError as error:
        fix = "make the model take any batch of valid inputs, with and without gradients"
        return [memory, DoctorFinding(check="time", verdict="fail", measured=str(error), fix=fix)], None
    found = forecast(job.plan, dataset, speed)
    return [memory, time_finding(speed, found)], found

"""Examination of a model: build it, run every check, and forecast the cost of a suite."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from robustbench_wb import rng
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
from robustbench_wb.engine.doctor.examined_model import FIRST_SAMPLES, LABELLED_SAMPLES, ExaminedModel
from robustbench_wb.engine.doctor.forecast import forecast_cost, time_finding
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.subject import as_taken, untrained
from robustbench_wb.engine.task_samples import choose_samples
from robustbench_wb.engine.torch_state import seeded_generators
from robustbench_wb.errors import MeasurementError, UsageError, as_measurement_error
from robustbench_wb.models.accepted_module import freeze
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.user_code import UserCode

MAX_PASS_SECONDS = 2.0
"""Seconds that one pass over the labelled samples may take. A slow model is examined on fewer of them."""
MIN_LABELLED_SAMPLES = 32
"""Number of labelled samples on which any model is examined, however slow."""
_ANY_BATCH = "make the model take any batch of valid inputs, with and without gradients"


@dataclass(frozen=True)
class _Check:
    name: str
    run: Callable[[ExaminedModel], DoctorFinding]
    requires: tuple[str, ...] = ()
    """Names of checks without which this one says nothing: it is skipped if one of them failed."""


CHECKS = (
    _Check("answers", output_checks.check_answers),
    _Check("dtype", output_checks.check_dtype, ("answers",)),
    _Check("finite", output_checks.check_finite, ("answers",)),
    _Check("logits", output_checks.check_logits, ("answers",)),
    _Check("eval mode", determinism_checks.check_eval_mode, ("answers",)),
    _Check("determinism", determinism_checks.check_determinism, ("answers",)),
    _Check("batch invariance", determinism_checks.check_batch_invariance, ("answers", "determinism")),
    _Check("gradient", gradient_checks.check_gradient, ("answers",)),
    _Check("finite differences", gradient_checks.check_finite_differences, ("answers", "determinism", "gradient")),
    _Check("input range", input_checks.check_input_range, ("answers",)),
    _Check("normalisation", input_checks.check_normalisation, ("answers",)),
    _Check("class order", class_checks.check_class_order, ("answers",)),
    _Check("head", class_checks.check_head, ("answers",)),
)
"""Checks in the order in which they run. ``build`` comes before them, ``memory`` and ``time`` after."""


def diagnose(run: PreparedRun) -> Diagnosis:
    """Examine the first model of a prepared run on its first task. The model is not trained.

    Raises:
        CheckpointError: the given checkpoint cannot be used.
        UsageError: the task has a label for each pixel.
    """
    plan, dataset = run.plan.tasks[0].subjects[0], run.datasets[0]
    if isinstance(dataset.shape, SegmentationShape):
        raise UsageError(f"doctor examines classifiers, and task {dataset.label!r} has a class for each pixel", "tasks")
    findings: list[DoctorFinding] = []
    cost_of_suite: Forecast | None = None
    parameters = 0
    total = len(CHECKS) + 3
    seeded = seeded_generators(rng.stream_key(run.plan.seed, "doctor"), run.device)
    with UserCode(plan.name).running(), seeded, run.progress.stage(f"doctor {plan.name}", total, "checks") as advance:
        try:
            with as_measurement_error(plan.name):
                examined = _prepare(run, dataset)
        except MeasurementError as error:
            fix = "name a function of the shape (.channels, .height, .width, .classes) that returns a torch.nn.Module"
            findings.append(DoctorFinding(check="build", verdict="fail", measured=str(error), fix=fix))
        else:
            parameters = sum(parameter.numel() for parameter in examined.model.parameters())
            findings.append(DoctorFinding(check="build", verdict="ok", measured=f"{parameters:,} parameters"))
            advance(1)
            findings += examine(examined, advance)
            if any(finding.check == "answers" and finding.verdict == "fail" for finding in findings):
                findings += [_skipped("memory", "answers"), _skipped("time", "answers")]
            else:
                more, cost_of_suite = _examine_costs(run, dataset, examined)
                findings += more
    return Diagnosis(
        subject=plan.name,
        size=plan.size,
        task=dataset.label,
        device=str(run.device),
        parameters=parameters,
        findings=tuple(findings),
        forecast=cost_of_suite,
    )


def _prepare(run: PreparedRun, dataset: Dataset) -> ExaminedModel:
    """Build the model, and put it and the labelled samples on the device of the run."""
    plan = run.plan.tasks[0].subjects[0]
    dataset = as_taken(plan, dataset)
    model = untrained(plan, dataset, run.plan.seed)
    freeze(model, run.device)
    samples = choose_samples(dataset, LABELLED_SAMPLES)
    return ExaminedModel(
        model=model,
        shape=dataset.shape,
        inputs=to_inputs(samples.inputs, run.device),
        labels=torch.from_numpy(samples.labels).to(run.device),
        classes=dataset.classes,
    )


def examine(examined: ExaminedModel, advance: Callable[[int], None]) -> list[DoctorFinding]:
    """Run every check in order. A check that raises has failed; it is skipped if a check that it requires failed."""
    findings: dict[str, DoctorFinding] = {}
    for check in CHECKS:
        failed = [name for name in check.requires if findings[name].verdict == "fail"]
        findings[check.name] = _skipped(check.name, failed[0]) if failed else _run_guarded(check, examined)
        if check.name == "answers" and findings["answers"].verdict == "ok":
            examined = _within_time(examined)
        advance(1)
    return list(findings.values())


def _skipped(name: str, failed: str) -> DoctorFinding:
    return DoctorFinding(check=name, verdict="skipped", measured=f"not meaningful while the check {failed} fails")


def _run_guarded(check: _Check, examined: ExaminedModel) -> DoctorFinding:
    try:
        with as_measurement_error("the model"):
            return check.run(examined)
    except MeasurementError as error:
        return DoctorFinding(check=check.name, verdict="fail", measured=str(error), fix=_ANY_BATCH)


def _within_time(examined: ExaminedModel) -> ExaminedModel:
    """Keep as many labelled samples as one pass takes in ``MAX_PASS_SECONDS``."""
    started = time.perf_counter()
    examined.logits(examined.first_inputs)
    each = (time.perf_counter() - started) / FIRST_SAMPLES
    return examined.with_first(max(MIN_LABELLED_SAMPLES, int(MAX_PASS_SECONDS / max(each, 1e-9))))


def _examine_costs(
    run: PreparedRun, dataset: Dataset, examined: ExaminedModel
) -> tuple[list[DoctorFinding], Forecast | None]:
    """Findings on memory and time of a model with valid outputs, and the forecast; None if timing the model raised."""
    batch = run.request.batch or ENOUGH
    memory = _run_guarded(_Check("memory", lambda model: cost.check_memory(model, batch)), examined)
    try:
        times = cost.time_passes(examined, batch)
    except MeasurementError as error:
        return [memory, DoctorFinding(check="time", verdict="fail", measured=str(error), fix=_ANY_BATCH)], None
    found = forecast_cost(run.plan, dataset, times)
    return [memory, time_finding(times, found)], found

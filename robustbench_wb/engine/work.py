"""How much work a plan is, in forward passes of one sample: what a forecast of its time is made from."""

import time
from collections.abc import Mapping

import torch

from robustbench_wb.engine.plan import Ladder, Plan, SubjectPlan
from robustbench_wb.engine.subject import untrained
from robustbench_wb.errors import HarnessError
from robustbench_wb.models.inputs import to_inputs
from robustbench_wb.models.variant import Variant
from robustbench_wb.stressors.retrained import Retrained
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.recipe import Recipe

BACKWARD = 2
"""A backward pass costs about twice a forward pass."""
TIMED = 64
"""Samples that a pass is timed on."""
UNKNOWN = (100, 100)
"""Passes that a stressor is reckoned with that cannot tell them: an attack of a library."""


def passes(ladder: Ladder) -> tuple[int, int] | None:
    """Forward passes and input gradients of one sample that is never broken at all rungs; None when not known.

    A search by bisection tries few rungs in full. To what the stressor spends, the verdict is added: one pass, or two
    where the stressor did not look at predictions.
    """
    spent = [rung.passes for rung in ladder.rungs]
    known = [cost for cost in spent if cost is not None]
    if len(known) < len(spent):
        return None
    verdicts = sum(1 if rung.kind is not None else 2 for rung in ladder.rungs)
    if ladder.rungs[0].sweeps:
        known = known[: len(known).bit_length()]
        verdicts += len(spent) - len(known)  # one look at each of the others
    return sum(cost[0] for cost in known) + verdicts, sum(cost[1] for cost in known)


def trained_samples(subject: SubjectPlan, dataset: Dataset) -> int:
    """Samples that its training takes, each as often as it is taken."""
    recipe, samples = subject.recipe, len(dataset.train)
    return 0 if subject.checkpoint is not None else recipe.epochs * min(samples, recipe.train_samples or samples)


def inner_passes(recipe: Recipe) -> tuple[int, int]:
    """Forward passes and gradients that a sample of adversarial training costs beside those of plain training."""
    adversary = recipe.adversary
    if adversary is None:
        return 0, 0
    # TRADES also looks at the clean image, once for its adversary and once for its own loss.
    looks, losses = (2, 1) if adversary.method == "trades" else (0, 0)
    return adversary.steps + looks, adversary.steps + losses


def pass_seconds(subject: SubjectPlan, dataset: Dataset, device: torch.device) -> float | None:
    """Seconds of a forward pass of one sample, timed on a few; None for a model from outside, which is not built twice,
    and for one that cannot be built."""
    if not isinstance(subject.source, Variant):
        return None
    try:
        model = untrained(subject, dataset, 0).to(device).eval()
    except HarnessError:  # the run will say so
        return None
    inputs = to_inputs(dataset.test.inputs[:TIMED], device)
    taken = []
    with torch.no_grad():
        for _ in range(3):
            started = time.perf_counter()
            model(inputs).sum().item()  # waits for the device
            taken.append(time.perf_counter() - started)
    return min(taken[1:]) / len(inputs)


def weights(plan: Plan, datasets: list[Dataset], device: torch.device) -> list[Mapping[str, float]]:
    """What a pass of each subject costs, by name and for each task; the mean of the others where it is not known."""
    found: list[Mapping[str, float]] = []
    for task, dataset in zip(plan.tasks, datasets, strict=True):
        timed = {subject.name: pass_seconds(subject, dataset, device) for subject in task.subjects}
        known = [seconds for seconds in timed.values() if seconds is not None]
        other = sum(known) / len(known) if known else 1.0
        found.append({name: other if seconds is None else seconds for name, seconds in timed.items()})
    return found


def training_work(subject: SubjectPlan, dataset: Dataset) -> float:
    """That of training a subject."""
    forwards, backwards = inner_passes(subject.recipe)
    return trained_samples(subject, dataset) * (1 + BACKWARD + forwards + BACKWARD * backwards)


def ladder_work(ladder: Ladder, samples: int) -> float:
    """That of measuring a ladder on trained subjects, where no sample is broken."""
    forwards, backwards = passes(ladder) or (len(ladder.rungs) * UNKNOWN[0], len(ladder.rungs) * UNKNOWN[1])
    return samples * (forwards + BACKWARD * backwards)


def subject_work(subject: SubjectPlan, ladders: tuple[Ladder, ...], dataset: Dataset, samples: int) -> float:
    """That of training a subject and measuring all its cells."""
    retrained = sum(len(ladder.rungs) for ladder in ladders if isinstance(ladder.rungs[0], Retrained))
    measured = sum(ladder_work(ladder, samples) for ladder in ladders)
    return (1 + retrained) * training_work(subject, dataset) + measured


def plan_work(plan: Plan, datasets: list[Dataset], weights: list[Mapping[str, float]]) -> float:
    """That of everything, each subject's by its weight."""
    return sum(
        own[subject.name] * subject_work(subject, task.ladders, dataset, evaluated(plan, dataset))
        for task, dataset, own in zip(plan.tasks, datasets, weights, strict=True)
        for subject in task.subjects
    )


def evaluated(plan: Plan, dataset: Dataset) -> int:
    """Samples of a cell."""
    return min(len(dataset.test), plan.samples or len(dataset.test))

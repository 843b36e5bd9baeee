"""How much work a plan is, in forward passes of one sample: what a forecast of its time is made from."""

from robustbench_wb.engine.plan import Ladder, Plan, SubjectPlan
from robustbench_wb.stressors.retrained import Retrained
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.recipe import Recipe

BACKWARD = 2
"""A backward pass costs about twice a forward pass."""
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


def plan_work(plan: Plan, datasets: list[Dataset]) -> float:
    """That of everything."""
    return sum(
        subject_work(subject, task.ladders, dataset, evaluated(plan, dataset))
        for task, dataset in zip(plan.tasks, datasets, strict=True)
        for subject in task.subjects
    )


def evaluated(plan: Plan, dataset: Dataset) -> int:
    """Samples of a cell."""
    return min(len(dataset.test), plan.samples or len(dataset.test))

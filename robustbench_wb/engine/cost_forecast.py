"""Forecast of the seconds that a plan takes, from the passes that it needs and a short timing of each model."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_wb.cpu_threads import cpu_threads
from robustbench_wb.engine.batch import FEW
from robustbench_wb.engine.plan import Ladder, Plan, SubjectPlan
from robustbench_wb.engine.subject import untrained
from robustbench_wb.engine.timing import timed, train_pass
from robustbench_wb.errors import HarnessError, as_measurement_error
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.variant import Variant
from robustbench_wb.stressors.attacks.minimum_norm import MinimumNormAttack
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.training.recipe import Recipe

BACKWARD = 2
"""Cost of an input gradient in forward passes, beyond its own forward pass."""
UNKNOWN = (100, 100)
"""Assumed forward and backward passes per sample for attacks that do not report their cost."""


def passes(ladder: Ladder) -> tuple[int, int] | None:
    """Forward passes and input gradients of all rungs on one sample that is never broken; None if not known.

    A search by bisection tries few rungs in full, a minimum-norm attack one. The verdict is added to what the stressor
    spends: one pass.
    """
    spent = [rung.passes for rung in ladder.rungs]
    known = [cost for cost in spent if cost is not None]
    if len(known) < len(spent):
        return None
    verdicts = len(spent)
    if ladder.rungs[0].sweeps:
        searches = 1 if isinstance(ladder.rungs[0], MinimumNormAttack) else len(known).bit_length()
        known = known[:searches]
        verdicts += len(spent) - len(known)  # one pass for each of the others
    return sum(cost[0] for cost in known) + verdicts, sum(cost[1] for cost in known)


def trained_samples(subject: SubjectPlan, dataset: Dataset) -> int:
    """Number of samples that a training takes over all its epochs; 0 if the weights are given."""
    recipe, samples = subject.recipe, len(dataset.train)
    return 0 if subject.checkpoint is not None else recipe.epochs * min(samples, recipe.train_samples or samples)


def inner_passes(recipe: Recipe) -> tuple[int, int]:
    """Forward passes and gradients of adversarial training per sample, beyond those of plain training."""
    adversary = recipe.adversary
    if adversary is None:
        return 0, 0
    # TRADES also evaluates the clean image, once for its adversary and once for its own loss.
    looks, losses = (2, 1) if adversary.method == "trades" else (0, 0)
    return adversary.steps + looks, adversary.steps + losses


@dataclass(frozen=True)
class SampleCost:
    """Seconds per sample."""

    forward: float
    """One forward pass."""
    training: float
    """One forward pass and one backward pass to the weights."""
    untimed: bool = False
    """Whether the model was not timed. Its time is not known then, and nobody guesses it."""


FREE = SampleCost(0.0, 0.0)
"""Cost of a model that hardly computes anything, like a shortcut."""
UNTIMED = SampleCost(0.0, 0.0, untimed=True)
"""Cost of a model that is not timed yet: the forecast leaves it out and says so."""


def cost(subject: SubjectPlan, dataset: Dataset, device: torch.device) -> SampleCost:
    """Time a model on a few samples. ``UNTIMED`` for a model from outside, which is timed once it is built, and for one
    that fails."""
    if not isinstance(subject.source, Variant):
        return UNTIMED
    try:
        with as_measurement_error(subject.name):
            model = untrained(subject, dataset, 0).to(device).eval()
            inputs, trained = timed_samples(dataset, device)
            return time_model(model, inputs, trained=trained)
    except HarnessError:  # the run reports it
        return UNTIMED


def timed_samples(dataset: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    """A few typical samples of the evaluated split and of the one that models are trained on, for ``time_model``.

    Without a training split, both are of the evaluated one.
    """
    trained = dataset.train if len(dataset.train) else dataset.test
    return _typical_inputs(dataset.test, device), _typical_inputs(trained, device)


def _typical_inputs(split: Split, device: torch.device) -> Tensor:
    """The first ``FEW`` samples of a split as model inputs, texts cut to the mean length of the split.

    Batches of texts are sorted by length and hold no columns of padding alone, so that padding is hardly ever computed.
    """
    inputs = to_inputs(split.select_rows(slice(FEW)).inputs, device)
    if split.token_counts is None:
        return inputs
    mean = np.minimum(split.token_counts, inputs.shape[1]).mean()
    return inputs[:, : max(1, round(float(mean)))]


def time_model(model: nn.Module, inputs: Tensor, *, trained: Tensor) -> SampleCost:
    """Time a model on a few samples; on a CPU, the faster of all threads and one.

    Threads wait for each other where another program holds a core: hundreds of times the time of one thread, by which
    samples would be measured one by one.

    Args:
        model: model on the device of the samples.
        inputs: samples of the forward pass.
        trained: samples of the training pass.
    """
    every = _time_model(model, inputs, trained)
    if inputs.device.type != "cpu" or torch.get_num_threads() == 1:
        return every
    with cpu_threads(1):
        one = _time_model(model, inputs, trained)
    return SampleCost(min(every.forward, one.forward), min(every.training, one.training))


def _time_model(model: nn.Module, inputs: Tensor, trained: Tensor) -> SampleCost:
    with torch.no_grad():
        forward = timed(lambda: model(inputs), inputs.device)
    training = timed(lambda: train_pass(model, trained), trained.device)
    return SampleCost(forward / len(inputs), training / len(trained))


Timings = dict[tuple[str, str, str], SampleCost]
"""Costs that are known already, by name and size of the model and name of the data."""


def costs(
    plan: Plan, datasets: list[Dataset], device: torch.device, *, known: Timings | None = None
) -> list[dict[str, SampleCost]]:
    """Cost of each model by name, for each task; ``UNTIMED`` for a model that cannot be timed yet.

    Args:
        plan: models and tasks.
        datasets: data of each task.
        device: where the models are timed.
        known: costs that are not measured again; what is measured is added.
    """
    timings = {} if known is None else known
    found: list[dict[str, SampleCost]] = []
    for task, dataset in zip(plan.tasks, datasets, strict=True):
        own: dict[str, SampleCost] = {}
        for subject in task.subjects:
            place = (subject.name, subject.size, dataset.label)
            if place not in timings:
                timings[place] = cost(subject, dataset, device)
            own[subject.name] = timings[place]
        found.append(own)
    return found


def training_seconds(subject: SubjectPlan, dataset: Dataset, cost: SampleCost) -> float:
    """Seconds of training a model."""
    forwards, backwards = inner_passes(subject.recipe)
    return trained_samples(subject, dataset) * (cost.training + (forwards + BACKWARD * backwards) * cost.forward)


def ladder_seconds(ladder: Ladder, samples: int, cost: SampleCost) -> float:
    """Seconds of measuring a ladder on trained models if no sample is broken."""
    forwards, backwards = passes(ladder) or (len(ladder.rungs) * UNKNOWN[0], len(ladder.rungs) * UNKNOWN[1])
    return samples * (forwards + BACKWARD * backwards) * cost.forward


def subject_seconds(
    subject: SubjectPlan, ladders: tuple[Ladder, ...], dataset: Dataset, *, samples: int, cost: SampleCost
) -> float:
    """Seconds of training a model and measuring all its cells."""
    retrained = sum(len(ladder.contaminations) for ladder in ladders)
    measured = sum(ladder_seconds(ladder, samples, cost) for ladder in ladders)
    return (1 + retrained) * training_seconds(subject, dataset, cost) + measured


def plan_seconds(plan: Plan, datasets: list[Dataset], costs: list[dict[str, SampleCost]]) -> float:
    """Seconds of training and measuring everything in a plan."""
    return sum(
        subject_seconds(subject, task.ladders, dataset, samples=evaluated(plan, dataset), cost=own[subject.name])
        for task, dataset, own in zip(plan.tasks, datasets, costs, strict=True)
        for subject in task.subjects
    )


def evaluated(plan: Plan, dataset: Dataset) -> int:
    """Number of samples of each cell of a task."""
    return min(len(dataset.test), plan.samples or len(dataset.test))

"""What a suite costs: evaluations, passes through the model, and samples at each scale."""

from dataclasses import dataclass

from robustbench_wb.engine.cost_forecast import BACKWARD, passes
from robustbench_wb.engine.plan import suite_ladders
from robustbench_wb.suites.suite import Suite


@dataclass(frozen=True, kw_only=True)
class SuiteCost:
    """Cost of a suite at one scale, per model and task, if no sample is broken; without training."""

    scale: str
    samples: int | None
    """Number of evaluated samples; None: the whole test split."""
    evaluations: int
    """Number of cells."""
    passes: int | None
    """Forward passes per sample; an input gradient counts as ``BACKWARD`` of them. None if a stressor does not tell."""


def suite_costs(suite: Suite) -> list[SuiteCost]:
    """Cost of a suite at each of its scales, on its first default task.

    Raises:
        UsageError: a stressor of the suite cannot be built.
    """
    found = []
    for scale, settings in suite.scales.items():
        ladders = suite_ladders(suite, suite.default_tasks(scale)[0])
        spent = [passes(ladder) for ladder in ladders]
        known = [round(forwards + BACKWARD * backwards) for forwards, backwards in filter(None, spent)]
        found.append(
            SuiteCost(
                scale=scale,
                samples=settings.samples,
                evaluations=sum(len(ladder.rungs) for ladder in ladders),
                passes=sum(known) if len(known) == len(spent) else None,
            )
        )
    return found

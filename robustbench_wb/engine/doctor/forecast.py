"""How long a suite will take on a subject, at most: passes of the plan times measured seconds per pass."""

from robustbench_wb.engine.doctor.cost import Speed
from robustbench_wb.engine.doctor.finding import Finding, Forecast
from robustbench_wb.engine.plan import Plan
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.published import Published
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.recipe import Recipe


def passes(stressor: Stressor) -> tuple[int, int] | None:
    """Forward passes and input gradients that one sample costs when it is never broken; None when not known.

    Not known where there is a surrogate: most passes are its own.
    """
    if stressor.surrogate is not None:
        return None
    if isinstance(stressor, Attack):
        # Each run: a pass with a gradient per step, a last look without one; then the independent verdict.
        return stressor.runs * (stressor.iterations + 1) + 1, stressor.runs * stressor.iterations
    if isinstance(stressor, Published):
        forwards, backwards = stressor.passes
        return forwards + 2, backwards
    return None if stressor.adversarial() else (2, 0)


def forecast(plan: Plan, dataset: Dataset, speed: Speed) -> Forecast:
    """The cost of the plan's first subject on its first task."""
    task = plan.tasks[0]
    samples = min(len(dataset.test), plan.samples or len(dataset.test))
    rungs = [rung for ladder in task.ladders for rung in ladder.rungs]
    known = [cost for cost in map(passes, rungs) if cost is not None]
    subject = task.subjects[0]
    trained = 0 if subject.checkpoint is not None else _trained(subject.recipe, len(dataset.train))
    inner = _inner(subject.recipe)
    forwards = samples * sum(cost[0] for cost in known) + trained * inner[0]
    backwards = samples * sum(cost[1] for cost in known) + trained * inner[1]
    seconds = forwards * speed.forward + backwards * speed.backward + trained * speed.training
    return Forecast(
        suite=plan.suite,
        scale=plan.scale,
        samples=samples,
        cells=len(rungs),
        forwards=forwards,
        backwards=backwards,
        train_samples=trained,
        seconds=round(seconds, 1),
        uncounted=tuple(dict.fromkeys(rung.name for rung in rungs if passes(rung) is None)),
    )


def _trained(recipe: Recipe, samples: int) -> int:
    return recipe.epochs * min(samples, recipe.train_samples or samples)


def _inner(recipe: Recipe) -> tuple[int, int]:
    """Forward passes and gradients that a sample of adversarial training costs beside those of plain training."""
    adversary = recipe.adversary
    if adversary is None:
        return 0, 0
    # TRADES also looks at the clean image, once for its adversary and once for its own loss.
    looks, losses = (2, 1) if adversary.method == "trades" else (0, 0)
    return adversary.steps + looks, adversary.steps + losses


def time_finding(speed: Speed, found: Forecast) -> Finding:
    """The forecast as a line."""
    unknown = f", not counting {', '.join(found.uncounted)}" if found.uncounted else ""
    training = f", {found.train_samples:,} samples of training" if found.train_samples else ""
    measured = (
        f"{1e3 * speed.forward:.3g} ms forward, {1e3 * speed.backward:.3g} ms backward per sample; "
        f"suite {found.suite} at {found.scale} scale: {found.cells} cells, {found.forwards:,} forwards, "
        f"{found.backwards:,} backwards{training}: at most about {_duration(found.seconds)}{unknown}"
    )
    return Finding(check="time", verdict="ok", measured=measured)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

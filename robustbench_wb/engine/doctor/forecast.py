"""How long a suite will take on a subject, at most: passes of the plan times measured seconds per pass."""

from robustbench_wb.engine.doctor.cost import Speed
from robustbench_wb.engine.doctor.finding import Finding, Forecast
from robustbench_wb.engine.plan import Ladder, Plan
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.recipe import Recipe


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


def forecast(plan: Plan, dataset: Dataset, speed: Speed) -> Forecast:
    """The cost of the plan's first subject on its first task."""
    task = plan.tasks[0]
    samples = min(len(dataset.test), plan.samples or len(dataset.test))
    known = [cost for cost in map(passes, task.ladders) if cost is not None]
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
        cells=sum(len(ladder.rungs) for ladder in task.ladders),
        forwards=forwards,
        backwards=backwards,
        train_samples=trained,
        seconds=round(seconds, 1),
        uncounted=tuple(dict.fromkeys(ladder.rungs[0].name for ladder in task.ladders if passes(ladder) is None)),
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

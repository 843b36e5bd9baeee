"""Forecast of the longest time that a suite takes on a model: passes of the plan times measured seconds per pass."""

from robustbench_wb.engine.cost_forecast import evaluated, inner_passes, passes, trained_samples
from robustbench_wb.engine.doctor.cost import PassTimes
from robustbench_wb.engine.doctor.diagnosis import DoctorFinding, Forecast
from robustbench_wb.engine.plan import Plan
from robustbench_wb.progress import about_text
from robustbench_wb.tasks.task import Dataset


def forecast_cost(plan: Plan, dataset: Dataset, times: PassTimes) -> Forecast:
    """Cost of training and evaluating the first model of a plan on its first task."""
    task = plan.tasks[0]
    samples = evaluated(plan, dataset)
    known = [cost for cost in map(passes, task.ladders) if cost is not None]
    subject = task.subjects[0]
    trained = trained_samples(subject, dataset)
    inner = inner_passes(subject.recipe)
    forwards = samples * sum(cost[0] for cost in known) + trained * inner[0]
    backwards = samples * sum(cost[1] for cost in known) + trained * inner[1]
    seconds = forwards * times.forward + backwards * times.backward + trained * times.training
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


def time_finding(times: PassTimes, cost: Forecast) -> DoctorFinding:
    """Finding that states the measured pass times and the forecast; its verdict is always ``ok``."""
    unknown = f", not counting {', '.join(cost.uncounted)}" if cost.uncounted else ""
    training = f", {cost.train_samples:,} training samples" if cost.train_samples else ""
    measured = (
        f"{1e3 * times.forward:.3g} ms forward, {1e3 * times.backward:.3g} ms backward per sample; "
        f"suite {cost.suite} at {cost.scale} scale: {cost.cells} cells, {cost.forwards:,} forward passes, "
        f"{cost.backwards:,} input gradients{training}: {about_text('at most about', cost.seconds)}{unknown}"
    )
    return DoctorFinding(check="time", verdict="ok", measured=measured)

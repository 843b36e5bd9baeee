"""How long a suite will take on a subject, at most: passes of the plan times measured seconds per pass."""

from robustbench_wb.engine.cost_forecast import evaluated, inner_passes, passes, trained_samples
from robustbench_wb.engine.doctor.cost import Speed
from robustbench_wb.engine.doctor.diagnosis import DoctorFinding, Forecast
from robustbench_wb.engine.plan import Plan
from robustbench_wb.tasks.task import Dataset


def forecast(plan: Plan, dataset: Dataset, speed: Speed) -> Forecast:
    """The cost of the plan's first subject on its first task."""
    task = plan.tasks[0]
    samples = evaluated(plan, dataset)
    known = [cost for cost in map(passes, task.ladders) if cost is not None]
    subject = task.subjects[0]
    trained = trained_samples(subject, dataset)
    inner = inner_passes(subject.recipe)
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


def time_finding(speed: Speed, found: Forecast) -> DoctorFinding:
    """The forecast as a line."""
    unknown = f", not counting {', '.join(found.uncounted)}" if found.uncounted else ""
    training = f", {found.train_samples:,} samples of training" if found.train_samples else ""
    measured = (
        f"{1e3 * speed.forward:.3g} ms forward, {1e3 * speed.backward:.3g} ms backward per sample; "
        f"suite {found.suite} at {found.scale} scale: {found.cells} cells, {found.forwards:,} forwards, "
        f"{found.backwards:,} backwards{training}: at most about {_duration(found.seconds)}{unknown}"
    )
    return DoctorFinding(check="time", verdict="ok", measured=measured)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

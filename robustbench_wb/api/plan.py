"""``plan``: how many samples and seeds the decisions of a gate need, and what they cost."""

from dataclasses import replace
from typing import Unpack

from robustbench_wb.analysis.gate.margins import given_margins, parse_margin
from robustbench_wb.analysis.gate.sample_plan import POWER, SamplePlan, discordance_text, plan_samples
from robustbench_wb.api.forecast import forecast
from robustbench_wb.api.request import ExperimentFields, make_experiment
from robustbench_wb.api.stored_discordance import find_discordance
from robustbench_wb.engine.experiment import Experiment
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.progress import Progress


def plan(
    request: RunRequest | Experiment | None = None,
    results: str = "results",
    *,
    margin: float | None = None,
    power: float = POWER,
    drop: float | None = None,
    discordance: float | None = None,
    version: str | None = None,
    baseline: str | None = None,
    progress: Progress | None = None,
    **fields: Unpack[ExperimentFields],
) -> SamplePlan:
    """Find the number of samples with which a gate decides, and forecast the run. Nothing is trained or written.

    A gate decides if a model without any drop passes, and if one with a drop of ``drop`` points has regressed, each
    with probability ``power``. See ``robustbench_wb.analysis.gate.sample_plan.plan_samples``.

    Args:
        request: as for ``robustbench_wb.run``; or pass its fields as keywords.
        results: folder or Delta URL where results live; it need not exist.
        margin: accepted drop in points of accuracy; None: the margins of ``pyproject.toml``, else 1.
        power: probability, above 0.05 and below 1.
        drop: drop in points that must be shown; None: twice the margin.
        discordance: percent of the samples that change without any drop; None: as stored, else 10 %.
        version: table whose stored outcomes say how many samples change; None: the latest version, if there is one.
        baseline: table with which ``version`` is compared; None compares the seeds, or else the models, of ``version``.
        progress: told what is done.
        **fields: see ``robustbench_wb.run``.

    Raises:
        UsageError: the request, the data or a number cannot be used.
        StoreError: a table cannot be read, or nothing in it can be compared.
    """
    margins = given_margins(margin)
    if not 0.05 < power < 1:
        raise UsageError(f"power = {power} is not a probability above 0.05 and below 1, like 0.8", "power")
    if discordance is not None and not 0 <= discordance <= 100:
        raise UsageError(f"discordance = {discordance} is not a percentage between 0 and 100", "discordance")
    if discordance is not None and (version is not None or baseline is not None):
        raise UsageError("discordance and a table with stored outcomes are both given; use one of them", "discordance")
    found = find_discordance(results, version, baseline) if discordance is None else None
    experiment = make_experiment(request, fields)
    now = forecast(experiment, results, progress=progress)
    parts = plan_samples(
        now,
        margins,
        stored=found,
        discordance=None if discordance is None else discordance / 100,
        drop=None if drop is None else parse_margin(drop, "drop") / 100,
        power=power,
    )
    made = SamplePlan(power=power, discordance=discordance_text(found, discordance), parts=parts)
    if made.samples is None:
        return made
    settings = experiment.settings.model_copy(update={"samples": made.samples})
    after = forecast(replace(experiment, settings=settings), results, progress=progress)
    return made.model_copy(update={"forecast": after})

"""Samples and seeds that a gate needs for a decision, and the drop that a given number of samples shows."""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final

from robustbench_wb.analysis.gate.discordance import CellDiscordance, StoredDiscordance
from robustbench_wb.analysis.gate.gate_result import ALPHA
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.errors import UsageError
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.records.run_forecast import PartForecast, RunForecast
from robustbench_wb.spec import Spec
from robustbench_wb.stats.crossed_effects import seeds_needed
from robustbench_wb.stats.drop_power import (
    power_to_exclude,
    power_to_show,
    samples_needed,
    shares_at,
    smallest_drop,
)

if TYPE_CHECKING:
    import pandas as pd

POWER: Final = 0.8
"""Power of a minimum detectable effect, and of a plan unless another is given."""
ASSUMED: Final = 0.1
"""Discordance where neither a stored nor a stated one is known."""


class PartPlan(Spec):
    """Samples that the cells of one task under one suite need. Shares are between 0 and 1."""

    suite: str
    task: str
    cells: int
    """Cells of one model, which are corrected together."""
    cell: str
    """Stored cell that changes most, for which all numbers are; empty if the discordance is not a stored one."""
    changed: float
    """Share of samples that change without any drop."""
    margin: float
    """Accepted drop."""
    drop: float
    """True drop that must be shown."""
    samples: int
    """Samples of the run as it is requested."""
    smallest: float | None
    """Minimum detectable effect of the requested samples at the power of the plan; None if no drop is shown."""
    to_pass: int | None
    """Samples for which a cell without any drop passes; None if no number is enough."""
    to_show: int | None
    """Samples for which a cell with a true drop of ``drop`` has regressed; None if no number is enough."""
    seeds: int | None = None
    """Seeds on each side for which an architecture without any drop passes, at ``to_pass`` samples; None if unknown."""

    @property
    def needed(self) -> int | None:
        """Samples that decide either way; None if no number is enough."""
        return None if self.to_pass is None or self.to_show is None else max(self.to_pass, self.to_show)


class SamplePlan(Spec):
    """Samples that the decisions of a gate need, and the forecast of a run with them."""

    power: float
    alpha: float = ALPHA
    discordance: str
    """Where the shares of changed samples are from, in words."""
    parts: tuple[PartPlan, ...]
    forecast: RunForecast | None = None
    """Forecast of the run with ``samples``, as far as the data have as many; None if no number is enough."""

    @property
    def samples(self) -> int | None:
        """Samples with which every part is decided; None if no number is enough."""
        needs = [part.needed for part in self.parts]
        return None if None in needs else max((need for need in needs if need is not None), default=None)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per suite and task."""
        return to_frame({**columns(part), "needed": part.needed} for part in self.parts)


def plan_samples(
    forecast: RunForecast,
    margins: Margins,
    *,
    stored: StoredDiscordance | None = None,
    discordance: float | None = None,
    drop: float | None = None,
    power: float = POWER,
) -> tuple[PartPlan, ...]:
    """Samples for which the gate decides with probability ``power``, for each task under each suite.

    The powers are those of the tests of the gate itself, ``robustbench_wb.stats.drop_power``, at the level 0.05. A
    regression must be shown at the first step of Holm's correction for all cells of a model. Another regressed cell
    makes later steps easier, so that the power is at least the stated one.

    Args:
        forecast: models and tasks of the run.
        margins: accepted drops.
        stored: discordance of stored cells; the cell of a task that changes most counts.
        discordance: share of samples that change without a drop, instead of the stored one.
        drop: true drop that must be shown, a share; None: twice the margin.
        power: probability of either decision if it is true.

    Raises:
        UsageError: a drop is not larger than its margin, or a task has a perplexity instead of an accuracy.
    """
    groups: dict[tuple[str, str], list[PartForecast]] = {}
    for part in forecast.parts:
        if part.metric != "accuracy":
            raise UsageError(f"tasks: the samples of a perplexity cannot be planned; leave out {part.task}", "tasks")
        groups.setdefault((part.suite, part.task), []).append(part)
    return tuple(
        _part(members, margins.share(suite), stored=stored, discordance=discordance, drop=drop, power=power)
        for (suite, _), members in groups.items()
    )


def _part(
    members: Iterable[PartForecast],
    margin: float,
    *,
    stored: StoredDiscordance | None,
    discordance: float | None,
    drop: float | None,
    power: float,
) -> PartPlan:
    parts = list(members)
    task, cells = parts[0].task, max(map(_family, parts))
    samples, shown = parts[0].samples, 2 * margin if drop is None else drop
    if not margin < shown < 1:
        message = f"drop = {100 * shown:g} points must exceed the margin of {100 * margin:g} points to be shown"
        raise UsageError(f"{message}; give a larger drop", "drop")
    known = stored.hardest(task) if stored is not None and discordance is None else None
    changed = _changed(known) if discordance is None else discordance
    to_pass = _to_pass(changed, margin, power)
    return PartPlan(
        suite=parts[0].suite,
        task=task,
        cells=cells,
        cell="" if known is None else known.cell,
        changed=changed,
        margin=margin,
        drop=shown,
        samples=samples,
        smallest=_detectable(samples, changed, margin=margin, cells=cells, power=power),
        to_pass=to_pass,
        to_show=_to_show(changed, shown, margin=margin, cells=cells, power=power),
        seeds=None if to_pass is None or known is None else _seeds(known, to_pass, margin=margin, power=power),
    )


def with_detectable(forecast: RunForecast, margins: Margins, stored: StoredDiscordance | None) -> RunForecast:
    """Forecast with the minimum detectable effect of each part at 80 % power, for its cell that changes most."""
    parts = []
    for part in forecast.parts:
        known = None if stored is None else stored.hardest(part.task)
        margin, cells = margins.share(part.suite), _family(part)
        found = None
        if part.metric == "accuracy":
            found = _detectable(part.samples, _changed(known), margin=margin, cells=cells, power=POWER)
        parts.append(part.model_copy(update={"detectable": found}))
    return forecast.model_copy(update={"parts": tuple(parts), "discordance": discordance_text(stored, None)})


def discordance_text(stored: StoredDiscordance | None, given: float | None) -> str:
    """Where the shares of changed samples are from: stored, given in percent, or assumed."""
    if given is not None:
        return f"{given:g} % of the samples, as given"
    assumed = f"{100 * ASSUMED:g} % of the samples, assumed"
    if stored is None:
        return assumed
    known = ", ".join(f"{task} {100 * _changed(stored.hardest(task)):.1f} %" for task in stored.tasks)
    return f"{known} between {stored.source} in {stored.tables}; other tasks {assumed}"


def _changed(known: CellDiscordance | None) -> float:
    return ASSUMED if known is None else known.changed


def _family(part: PartForecast) -> int:
    """Number of cells of one model. A suite that declares smaller families corrects for fewer."""
    return max(part.cells // len(part.seeds), 1)


@cache
def _detectable(samples: int, changed: float, *, margin: float, cells: int, power: float) -> float | None:
    return smallest_drop(samples, changed, margin=margin, alpha=ALPHA / cells, wanted=power)


@cache
def _to_pass(changed: float, margin: float, power: float) -> int | None:
    if margin == 0:
        return None  # no number of samples excludes the absence of a drop
    lost, gained = shares_at(changed, 0.0)
    return samples_needed(lambda n: power_to_exclude(n, lost, gained, margin=margin, alpha=ALPHA), power)


@cache
def _to_show(changed: float, drop: float, *, margin: float, cells: int, power: float) -> int | None:
    lost, gained = shares_at(changed, drop)
    level = ALPHA / cells
    return samples_needed(lambda n: power_to_show(n, lost, gained, margin=margin, alpha=level), power)


def _seeds(known: CellDiscordance, samples: int, *, margin: float, power: float) -> int | None:
    """Seeds for which the mean over seeds passes: what varies between seeds beyond the samples is taken from them."""
    if known.seed_error is None:
        return None
    own = max(known.seed_error**2 - known.changed / known.n, 0.0)
    spread = known.changed / samples
    return seeds_needed(own + spread, spread, distance=margin, alpha=ALPHA, wanted=power)

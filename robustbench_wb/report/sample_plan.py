"""Samples that a gate needs, as text: a line per suite and task, and the forecast of a run with them."""

from typing import Final

from robustbench_wb.analysis.gate.sample_plan import PartPlan, SamplePlan
from robustbench_wb.report.details import details_json
from robustbench_wb.report.forecast import points_text, total_time_text
from robustbench_wb.report.text_block import Column, TextBlock, counted, fit_width, wrapped

_COLUMNS: Final = (
    Column("suite"),
    Column("task"),
    Column("cells", "right"),
    Column("changed", "right"),
    Column("margin", "right"),
    Column("n", "right"),
    Column("MDE", "right"),
    Column("n to pass", "right"),
    Column("n to show", "right"),
    Column("drop", "right"),
    Column("seeds", "right"),
)
_DISPENSABLE: Final = ("cells", "margin", "changed")


def sample_plan_blocks(plan: SamplePlan, width: int | None = None) -> list[TextBlock]:
    """Samples and seeds of each suite and task, what they cost, and the legend.

    Args:
        plan: plan of a gate.
        width: terminal columns to fit by dropping less important columns; None keeps all.
    """
    block = TextBlock(_headline(plan), columns=_COLUMNS, rows=tuple(map(_row, plan.parts)), notes=_costs(plan))
    return [fit_width(block, width, _DISPENSABLE), TextBlock(notes=wrapped(_legend(plan)))]


def sample_plan_json(plan: SamplePlan) -> str:
    """JSON object with the fields of ``SamplePlan``, its ``samples`` and the ``seconds`` of the forecast."""
    seconds = None if plan.forecast is None else plan.forecast.seconds
    return details_json({**plan.model_dump(), "samples": plan.samples, "seconds": seconds})


def _headline(plan: SamplePlan) -> str:
    if plan.samples is None:
        return f"No number of samples decides both ways with {100 * plan.power:g} % power"
    return f"{counted(plan.samples, 'sample')} decide both ways with {100 * plan.power:g} % power"


def _row(part: PartPlan) -> tuple[str, ...]:
    counts = ("none" if n is None else f"{n:,}" for n in (part.to_pass, part.to_show))
    return (
        *(part.suite, part.task, str(part.cells), f"{100 * part.changed:.1f} %", points_text(part.margin)),
        *(f"{part.samples:,}", points_text(part.smallest) or "none", *counts, points_text(part.drop)),
        "?" if part.seeds is None else str(part.seeds),
    )


def _costs(plan: SamplePlan) -> tuple[str, ...]:
    forecast = plan.forecast
    if forecast is None:
        return ()
    sizes = {part.task: part.samples for part in forecast.parts}
    short = {part.task: part.needed for part in plan.parts if (part.needed or 0) > sizes[part.task]}
    counts = "all samples that there are" if short else f"`run --samples {plan.samples}`"
    cost = f"{total_time_text(forecast)} in one process on {forecast.device}"
    notes = [f"{task} has only {sizes[task]:,} samples, of {needed:,} needed" for task, needed in short.items()]
    return wrapped([*notes, f"cost of what is not stored, with {counts}: {cost}"])


def _legend(plan: SamplePlan) -> list[str]:
    legend = [
        f"changed: share of samples that change without a drop: {plan.discordance}",
        f"MDE: smallest drop in points that the n requested samples show with {100 * plan.power:g} % power",
        "n to pass: a cell without a drop is shown to drop by less than the margin",
        f"n to show: a cell with this drop is shown to exceed the margin (level {plan.alpha:g}, Holm over the cells)",
    ]
    cells = sorted({f"{part.cell} on {part.task}" for part in plan.parts if part.cell})
    if cells:
        legend.append(f"the numbers are those of the cell that changes most: {', '.join(cells)}")
    if any(part.seeds is not None for part in plan.parts):
        legend.append(
            "seeds: seeds on each side with which the mean over seeds passes, for a claim about training anew"
        )
    else:
        legend.append(
            "seeds: unknown without stored results of several seeds; one is enough for a claim about a checkpoint"
        )
    return legend

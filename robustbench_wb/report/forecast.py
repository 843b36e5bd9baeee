"""Forecast of an experiment as text: a line per model, task, recipe and suite, and the total."""

from collections.abc import Iterable
from typing import Final

from robustbench_wb.models.chosen_outputs import MARK, MERGED
from robustbench_wb.progress import about_text, duration_text
from robustbench_wb.records.names import variant_name
from robustbench_wb.records.run_forecast import PartForecast, RunForecast
from robustbench_wb.report.details import details_json
from robustbench_wb.report.text_block import Column, TextBlock, counted, fit_width

_COLUMNS: Final = (
    Column("suite"),
    Column("task"),
    Column("model"),
    Column("recipe"),
    Column("seeds"),
    Column("n", "right"),
    Column("cells", "right"),
    Column("stored", "right"),
    Column("trainings", "right"),
    Column("training", "right"),
    Column("evaluation", "right"),
    Column("memory", "right"),
    Column("MDE", "right"),
)
_DISPENSABLE: Final = ("n", "trainings", "task")
_GIGA: Final = 1e9


def forecast_blocks(forecast: RunForecast, width: int | None = None) -> list[TextBlock]:
    """The parts of an experiment with seconds and memory, and the total.

    Args:
        forecast: forecast of an experiment.
        width: terminal columns to fit by dropping less important columns; None keeps all.
    """
    parts = forecast.parts
    unknown = "" if all(part.seconds is not None for part in parts) else " or more"
    training = sum(part.training_seconds or 0.0 for part in parts)
    models = len({(part.task, variant_name(part), part.recipe) for part in parts})
    total = (
        *("total", "", counted(models, "model"), "", "", "", f"{forecast.cells:,}", f"{forecast.stored:,}"),
        f"{forecast.trainings:,}",
        *(duration_text(training) + unknown, duration_text(forecast.seconds - training) + unknown),
        _gigabytes(forecast.memory),
        "",
    )
    block = TextBlock(
        f"Plan: {total_time_text(forecast)} in one process on {forecast.device}; "
        f"{forecast.stored:,} of {counted(forecast.cells, 'evaluation')} stored",
        columns=_COLUMNS,
        rows=(*map(_row, parts), total),
        notes=tuple(_notes(forecast)),
    )
    return [fit_width(block, width, _DISPENSABLE)]


def total_time_text(forecast: RunForecast) -> str:
    """Time of all parts in words, like ``at most about 5 min``; ``5 min or more`` if the time of a part is unknown."""
    if any(part.seconds is None for part in forecast.parts):
        return f"{duration_text(max(1.0, forecast.seconds))} or more"
    return about_text("at most about", forecast.seconds)


def forecast_json(forecast: RunForecast) -> str:
    """JSON object with the fields of ``RunForecast``, and its totals."""
    totals = {name: getattr(forecast, name) for name in ("cells", "stored", "trainings", "seconds", "memory")}
    return details_json({**forecast.model_dump(), **totals})


def _row(part: PartForecast) -> tuple[str, ...]:
    return (
        *(part.suite, part.task, variant_name(part), part.recipe, seeds_text(part.seeds), f"{part.samples:,}"),
        *(f"{part.cells:,}", f"{part.stored:,}", f"{part.trainings:,}", duration_text(part.training_seconds)),
        *(duration_text(part.evaluation_seconds), _gigabytes(part.memory), points_text(part.detectable)),
    )


def _notes(forecast: RunForecast) -> list[str]:
    notes = [
        "time: missing evaluations if no sample breaks, and models not in the cache; shared models once",
        "memory: weights and activations of the largest batch; data and PyTorch itself come on top",
    ]
    if any(part.detectable is not None for part in forecast.parts):
        notes += [
            "MDE: smallest drop of a cell, in points, that `gate` finds with 80 % power (level 0.05, Holm)",
            f"for the MDE, samples change without a drop as follows: {forecast.discordance}; see `plan`",
        ]
    if forecast.workers > 1:
        notes.append(f"{forecast.workers} workers share the evaluation, and each needs the memory")
    restricted = {part.task for part in forecast.parts if MARK in part.task and MERGED not in part.task}
    notes += sorted(f"{task}: the other outputs of a model are no possible answers" for task in restricted)
    assumed = sorted({name for part in forecast.parts for name in part.assumed})
    if assumed:
        notes.append(f"100 forward and backward passes are assumed for {', '.join(assumed)}")
    notes += sorted({f"no time for {variant_name(part)}: {part.reason}" for part in forecast.parts if part.reason})
    return [*notes, "nothing was trained, evaluated or written"]


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds with ranges, like ``0-2,5``."""
    texts: list[str] = []
    ordered = sorted(seeds)
    while ordered:
        first, last = ordered[0], ordered[0]
        while ordered and ordered[0] - last <= 1:
            last = ordered.pop(0)
        texts.append(str(first) if first == last else f"{first}-{last}")
    return ",".join(texts)


def points_text(share: float | None) -> str:
    """Share in points; empty if it is unknown."""
    return "" if share is None else f"{100 * share:.1f}"


def _gigabytes(count: int | None) -> str:
    return "?" if count is None else f"{count / _GIGA:.2f} GB"

"""Noise floor of cells: disagreement between several runs of one measurement (an A/A test)."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field, ValidationError

from robustbench_wb.errors import ExitCode, UsageError
from robustbench_wb.frames import columns, to_frame
from robustbench_wb.records.names import Metric, Slot, slot
from robustbench_wb.records.record import Measurement, Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.records.selfcheck_run import SelfcheckRun, SelfcheckSetting
from robustbench_wb.spec import Spec
from robustbench_wb.store.schema_number import SCHEMA_KEY, reject_newer_schema
from robustbench_wb.text_files import parse_json, read_text

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION: Final = 1
"""Schema number of the noise file. A gate reads the file back, so every change of the format raises the number."""


class CellNoise(Spec):
    """Disagreement of all runs on one cell. If a run failed, all numbers are 0 and ``error`` gives the reason."""

    model_config = ConfigDict(allow_inf_nan=False)

    task: str
    variant: str
    size: str
    recipe: str
    scale: str
    suite: str
    stressor: str
    strength: str
    seed: int
    metric: Metric
    numerics: str
    """Device class, number format and torch release; the noise floor applies to rows with equal numerics only."""
    n: int = Field(ge=0)
    """Number of samples."""
    flips: int = Field(ge=0)
    """Samples whose state differs between runs."""
    spread: float = Field(ge=0)
    """Largest difference between two runs: of accuracies as a share, of mean losses in nats."""
    floor: float = Field(ge=0)
    """Amount that a gate adds to the margin. Accuracy: share of flips, as if all went in one direction. Perplexity:
    ``spread`` in nats."""
    identical: bool
    """Whether states and losses are bit-identical in all runs."""
    loss_gap: float = Field(ge=0)
    """Largest difference between two runs of one sample's loss, in nats."""
    weights: tuple[str, ...]
    """Distinct digests of the weights; several if retraining gave different weights."""
    seconds: tuple[float, ...]
    """Wall time of each run."""
    error: str = ""

    @property
    def slot(self) -> Slot:
        """Slot of the cell, like ``robustbench_wb.records.score_row.ScoreRow.slot``."""
        return slot(self)


class NoiseFloor(Spec):
    """Noise of all cells of an A/A test."""

    settings: tuple[SelfcheckSetting, ...]
    """Batch size, threads and order of each run."""
    retrained: bool = False
    """Whether the models were trained again for each run."""
    cells: tuple[CellNoise, ...]

    @cached_property
    def floors(self) -> dict[tuple[Slot, str], float]:
        """Noise floors by slot and numerics."""
        return {(cell.slot, cell.numerics): cell.floor for cell in self.cells}

    def floor(self, row: ScoreRow) -> float:
        """Noise floor of a row; 0 if the test has no such cell with the numerics of the row."""
        return self.floors.get((row.slot, row.numerics), 0.0)

    @property
    def exit_code(self) -> ExitCode:
        """OK if every run measured every cell, no state changed, and retraining gave the same weights."""
        steady = all(not cell.error and not cell.floor and len(cell.weights) == 1 for cell in self.cells)
        return ExitCode.OK if steady else ExitCode.INCOMPLETE

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per cell."""
        return to_frame(columns(cell) for cell in self.cells)


def noise_floor_of(runs: Sequence[SelfcheckRun], retrained: bool = False) -> NoiseFloor:
    """Noise floor from several runs of one request, cell by cell in the order of the first run.

    Args:
        runs: at least two runs of the same cells.
        retrained: whether the models were trained again for each run.
    """
    slots: dict[Slot, list[Measurement]] = {}
    for run in runs:
        for measured in run.cells:
            slots.setdefault(measured.cell.slot, []).append(measured)
    cells = [_cell(members, len(runs)) for members in slots.values()]
    return NoiseFloor(settings=tuple(run.setting for run in runs), retrained=retrained, cells=tuple(cells))


class _Disagreement(NamedTuple):
    flips: int = 0
    spread: float = 0.0
    floor: float = 0.0
    identical: bool = False
    loss_gap: float = 0.0
    seconds: tuple[float, ...] = ()


def _cell(members: Sequence[Measurement], times: int) -> CellNoise:
    records = [member.record for member in members if member.record is not None]
    identity = next((member.identity for member in members if member.identity), None)
    error = next((member.error for member in members if member.error), "")
    cell, whole = members[0].cell, len(records) >= times
    found = _disagreement(records, cell.metric) if whole else _Disagreement()
    return CellNoise(
        task=cell.task,
        variant=cell.variant,
        size=cell.size,
        recipe=cell.recipe,
        scale=cell.scale,
        suite=cell.suite,
        stressor=cell.stressor,
        strength=cell.strength,
        seed=cell.seed,
        metric=cell.metric,
        numerics=identity.numerics if identity else "",
        n=members[0].samples,
        flips=found.flips,
        spread=found.spread,
        floor=found.floor,
        identical=found.identical,
        loss_gap=found.loss_gap,
        weights=tuple(dict.fromkeys(member.subject.weights for member in members)),
        seconds=found.seconds,
        error=error if whole else error or "not every run measured this cell",
    )


def _disagreement(records: Sequence[Record], metric: Metric) -> _Disagreement:
    states, losses = np.stack([one.states for one in records]), np.stack([one.losses for one in records])
    flips = int((states != states[0]).any(axis=0).sum())
    if metric == "accuracy":
        means = (states == State.ROBUST).mean(axis=1)
    else:
        means = np.array([np.nan_to_num(record.token_losses).mean() for record in records])
    spread = float(np.ptp(means)) if states.size else 0.0
    judged = np.isfinite(losses).all(axis=0)
    return _Disagreement(
        flips=flips,
        spread=spread,
        floor=flips / max(1, states.shape[1]) if metric == "accuracy" else spread,
        identical=len({(one.states.tobytes(), one.losses.tobytes()) for one in records}) == 1,
        loss_gap=float(np.ptp(losses[:, judged], axis=0).max(initial=0.0)),
        seconds=tuple(record.seconds for record in records),
    )


def mean_floor(noise: NoiseFloor | None, rows: Iterable[ScoreRow]) -> float:
    """Noise floor of the mean over some cells: the mean of their floors; 0 without ``noise``."""
    floors = [noise.floor(row) for row in rows] if noise is not None else []
    return sum(floors) / len(floors) if floors else 0.0


def read_noise_floor(file: str) -> NoiseFloor:
    """Read a file that ``selfcheck --save`` wrote.

    Raises:
        UsageError: the file cannot be read, or is not a noise file.
        StoreError: a newer version of the package wrote the file.
    """
    try:
        content = parse_json(read_text(file))
        number = content.pop(SCHEMA_KEY)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file} is not a file of `selfcheck --save`") from error
    reject_newer_schema(number, SCHEMA_VERSION, repr(file))
    try:
        return NoiseFloor.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{file} is not a file of `selfcheck --save`, or was changed after it was written") from error

"""How far a cell can move by itself: what several runs of the same measurement disagree on."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ConfigDict, Field, ValidationError

from robustbench_wb.errors import ExitCode, UsageError
from robustbench_wb.records.names import SLOT, Metric, Slot, slot
from robustbench_wb.records.record import Measurement, Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.records.selfcheck_run import SelfcheckRun, SelfcheckSetting
from robustbench_wb.spec import Spec
from robustbench_wb.store.schema_number import SCHEMA_KEY, reject_newer_schema

SCHEMA_VERSION: Final = 1
"""Of the file. It rises with every change: a gate reads it back."""


class CellNoise(Spec):
    """One cell in all runs. Where it could not be measured each time, all numbers are 0 and ``error`` says why."""

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
    """Device class, number format and torch release: the noise of others is another one."""
    n: int = Field(ge=0)
    """Samples."""
    flips: int = Field(ge=0)
    """Samples whose state is not the same in all runs."""
    spread: float = Field(ge=0)
    """Largest difference of two runs: of accuracies, as a share; of mean losses in nats."""
    floor: float = Field(ge=0)
    """What a gate adds to the margin: the share of flips, as if all were to fall to one side; or the spread in nats."""
    identical: bool
    """Whether states and losses are the same bytes in all runs."""
    loss_gap: float = Field(ge=0)
    """Largest difference of one sample's losses in two runs, nats."""
    weights: tuple[str, ...]
    """Different digests of the subject; one, unless it was trained each time and came out differently."""
    seconds: tuple[float, ...]
    """Wall time of each run."""
    error: str = ""

    @property
    def slot(self) -> Slot:
        """As :attr:`robustbench_wb.records.score_row.ScoreRow.slot`."""
        return slot(self)


class NoiseFloor(Spec):
    """All cells of an A/A test."""

    settings: tuple[SelfcheckSetting, ...]
    retrained: bool = False
    cells: tuple[CellNoise, ...]

    @cached_property
    def floors(self) -> dict[tuple[object, ...], float]:
        """By slot and numerics."""
        return {(cell.slot, cell.numerics): cell.floor for cell in self.cells}

    def floor(self, row: ScoreRow) -> float:
        """The floor of a row; 0 where its cell was not looked at, or with other numerics."""
        return self.floors.get((row.slot, row.numerics), 0.0)

    @property
    def exit_code(self) -> ExitCode:
        """OK when every cell was measured each time and no verdict changed."""
        steady = all(not cell.error and not cell.floor and len(cell.weights) == 1 for cell in self.cells)
        return ExitCode.OK if steady else ExitCode.INCOMPLETE


def noise_floor_of(runs: Sequence[SelfcheckRun], retrained: bool = False) -> NoiseFloor:
    """What the runs of one request disagree on, cell by cell in the order of the first."""
    slots: dict[Slot, list[Measurement]] = {}
    for run in runs:
        for measured in run.cells:
            slots.setdefault(measured.cell.slot, []).append(measured)
    cells = [_cell(dict(zip(SLOT, place, strict=True)), members, len(runs)) for place, members in slots.items()]
    return NoiseFloor(settings=tuple(run.setting for run in runs), retrained=retrained, cells=tuple(cells))


def _cell(names: Mapping[str, object], members: Sequence[Measurement], times: int) -> CellNoise:
    records = [member.record for member in members if member.record is not None]
    identity = next((member.identity for member in members if member.identity), None)
    error = next((member.error for member in members if member.error), "")
    fixed: dict[str, Any] = {
        **names,
        "metric": members[0].cell.metric,
        "numerics": identity.numerics if identity else "",
        "n": members[0].samples,
        "weights": tuple(dict.fromkeys(member.subject.weights for member in members)),
        "error": error,
    }
    if len(records) < times:
        nothing = {"flips": 0, "spread": 0.0, "floor": 0.0, "identical": False, "loss_gap": 0.0, "seconds": ()}
        return CellNoise(**{**fixed, **nothing, "error": error or "it was not measured each time"})
    return CellNoise(**fixed, **_disagreement(records, members[0].cell.metric))


def _disagreement(records: Sequence[Record], metric: Metric) -> dict[str, Any]:
    states, losses = (np.stack([getattr(record, name) for record in records]) for name in ("states", "losses"))
    flips = int((states != states[0]).any(axis=0).sum())
    if metric == "accuracy":
        means = (states == State.ROBUST).mean(axis=1)
    else:
        means = np.array([np.nan_to_num(record.token_losses).mean() for record in records])
    spread = float(np.ptp(means)) if states.size else 0.0
    judged = np.isfinite(losses).all(axis=0)
    return {
        "flips": flips,
        "spread": spread,
        "floor": flips / max(1, states.shape[1]) if metric == "accuracy" else spread,
        "identical": len({(one.states.tobytes(), one.losses.tobytes()) for one in records}) == 1,
        "loss_gap": float(np.ptp(losses[:, judged], axis=0).max(initial=0.0)),
        "seconds": tuple(record.seconds for record in records),
    }


def mean_floor(noise: NoiseFloor | None, rows: Iterable[ScoreRow]) -> float:
    """Of the mean over some cells: if each of them moves by its floor, that moves by so much; 0 without noise."""
    floors = [noise.floor(row) for row in rows] if noise is not None else []
    return sum(floors) / len(floors) if floors else 0.0


def read_noise_floor(file: str) -> NoiseFloor:
    """The file that ``selfcheck --save`` wrote.

    Raises:
        UsageError: it cannot be read, or is none.
        StoreError: a newer harness wrote it.
    """
    try:
        content: Any = json.loads(Path(file).read_text(encoding="utf-8"))
        number = content.pop(SCHEMA_KEY)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file} is no file of `selfcheck --save`") from error
    reject_newer_schema(number, SCHEMA_VERSION, repr(file))
    try:
        return NoiseFloor.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{file} is no file of `selfcheck --save`, or was changed after it was written") from error

"""Small artificial records, cells and rows for the tests of store, stats and report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from robustbench_wb.analysis.score import score_rows
from robustbench_wb.records.record import Cell, Identity, Measurement, Record, State, SubjectCard
from robustbench_wb.records.score_row import ScoreRow

IDENTITY = Identity(
    signature="pgd-linf;eps=8/255;steps=40",
    ladder=("2/255", "4/255"),
    stressor_code="code",
    data="data",
    samples="samples",
    weights="weights",
    model_code="model",
    numerics="cpu;float32;torch-2.13",
    seed=0,
)
CELL = Cell(
    suite="adversarial",
    suite_version=1,
    scale="small",
    task="digits",
    variant="vit",
    size="nano",
    recipe="plain",
    stressor="pgd-linf",
    strength="8/255",
    seed=0,
)
SUBJECT = SubjectCard(parameters=12345, weights="weights", train_seconds=3.25, trained=True)


def identity(**changes: object) -> Identity:
    return Identity.model_validate({**IDENTITY.model_dump(), **changes})


def record(states: Sequence[int] = (0, 1, 2, 0), **changes: object) -> Record:
    n = len(states)
    return Record(
        identity=identity(**changes),
        ids=np.arange(n, dtype=np.int32),
        states=np.array(states, dtype=np.int8),
        losses=np.where(np.array(states) == State.ERRORED, np.nan, np.linspace(0, 1, n)).astype(np.float32),
        forwards=np.full(n, 41, dtype=np.int32),
        backwards=np.full(n, 40, dtype=np.int32),
        wobble=0,
        seconds=1.5,
    )


def scored(losses: Sequence[float], **changes: object) -> Record:
    """Record of language modelling; a loss of NaN marks an errored sample."""
    values = np.array(losses, dtype=np.float32)
    made = record([State.SCORED] * len(values), **{"signature": "clean", "ladder": (), **changes})
    return replace(made, losses=values, states=np.where(np.isnan(values), State.ERRORED, made.states).astype(np.int8))


def cell(**changes: object) -> Cell:
    return Cell.model_validate({**CELL.model_dump(), **changes})


def measured(made: Record | None, samples: int | None = None, error: str = "", **names: object) -> Measurement:
    count = samples if samples is not None else len(made.ids) if made is not None else 4
    known = made.identity if made is not None else None
    return Measurement(
        cell=cell(**names),
        identity=known,
        subject=SUBJECT,
        record=made,
        reused=False,
        samples=count,
        error=error,
    )


def row(made: Record | None = None, samples: int | None = None, error: str = "", **names: object) -> ScoreRow:
    made = record() if made is None and not error else made
    return score_rows([measured(made, samples, error, **names)])[0]


def text_row(made: Record | None, samples: int | None = None, error: str = "", **names: object) -> ScoreRow:
    """Row of language modelling."""
    fixed = {"suite": "clean", "task": "text", "stressor": "clean", "strength": "", "metric": "perplexity"}
    return score_rows([measured(made, samples, error, **{**fixed, **names})])[0]


def states(robust: int, broken: int, wrong: int = 0, errored: int = 0) -> list[int]:
    """States in a fixed order, so that two records are paired by position."""
    return [0] * robust + [1] * broken + [2] * wrong + [3] * errored


def flip_outcome(path: Path) -> None:
    """Change one bit of the outcomes in a baseline file: some bytes elsewhere mean nothing."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    chunks = (group.column(number) for number in range(group.num_columns))
    states = next(chunk for chunk in chunks if chunk.path_in_schema.startswith("states"))
    content = bytearray(path.read_bytes())
    content[states.data_page_offset + states.total_compressed_size // 2] ^= 1
    path.write_bytes(content)

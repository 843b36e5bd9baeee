"""Scores, comparisons and gates as JSON: the fields of the data classes, sorted keys, no NaN."""

import json
from collections.abc import Iterable
from typing import Any, Final

from robustbench_wb.spec import plain
from robustbench_wb.stats.comparison import Comparison
from robustbench_wb.stats.judgement import Gate
from robustbench_wb.stats.noise import SCHEMA_VERSION as NOISE_SCHEMA
from robustbench_wb.stats.noise import Noise
from robustbench_wb.store.rows import SCHEMA_VERSION, ScoreRow
from robustbench_wb.store.schema import SCHEMA_KEY

COMPARISON_SCHEMA: Final = 1
"""Of the JSON of a comparison. Nothing of this harness reads it back: it rises when a field is taken away or changes
its meaning, not when one is added. So the next two."""
GATE_SCHEMA: Final = 1
CHAIN_SCHEMA: Final = 1
"""Of the JSON of ``baseline history``."""


def rows_json(rows: Iterable[ScoreRow], version: int | None = None) -> str:
    """``{"schema": 8, "version": 3, "rows": [...]}``; the fields of a row are those of :class:`ScoreRow`."""
    return value_json({"version": version, "rows": [plain(row) for row in rows]}, SCHEMA_VERSION)


def comparison_json(comparison: Comparison, ids: bool = False) -> str:
    """The fields of :class:`Comparison`, with the ``exit_code`` that the command ends with.

    ``lost_ids`` and ``gained_ids`` of the pairs are there with ``ids`` only: they can be longer than all the rest.
    """
    content = comparison.model_dump(exclude=None if ids else {"pairs": {"__all__": {"lost_ids", "gained_ids"}}})
    return value_json({**plain(content), "exit_code": int(comparison.exit_code)}, COMPARISON_SCHEMA)


def gate_json(gate: Gate) -> str:
    """The fields of :class:`Gate`, all ids included, with the ``exit_code`` that the command ends with."""
    return value_json({**plain(gate), "exit_code": int(gate.exit_code)}, GATE_SCHEMA)


def noise_json(noise: Noise) -> str:
    """The fields of :class:`Noise`; :func:`robustbench_wb.stats.noise.read_noise` reads it back."""
    return value_json(plain(noise), NOISE_SCHEMA)


def value_json(value: dict[str, Any], schema: int) -> str:
    """Any JSON object, with the number of its schema: indented, sorted keys, no NaN."""
    return (
        json.dumps({SCHEMA_KEY: schema, **value}, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )

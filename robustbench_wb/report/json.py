"""Scores, comparisons, gates and claims as JSON: the fields of the data classes, sorted keys, no NaN."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from robustbench_wb.analysis.claims.claims_result import ClaimsResult
from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.analysis.explanation import Explanation
from robustbench_wb.analysis.gate.gate_result import GateResult
from robustbench_wb.analysis.gate.noise_floor import SCHEMA_VERSION as NOISE_SCHEMA
from robustbench_wb.analysis.gate.noise_floor import NoiseFloor
from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking
from robustbench_wb.analysis.verify.verify_result import VerifyResult
from robustbench_wb.records.score_row import SCHEMA_VERSION, ScoreRow
from robustbench_wb.spec import to_json_types
from robustbench_wb.store.schema_number import SCHEMA_KEY

OUTPUT_SCHEMA: Final = 1
"""Schema number of comparisons, gates and claims, which no command reads back. Removing a field or changing its meaning
raises the number; adding a field does not."""

RANKING_SCHEMA: Final = 2
"""Schema number of the rankings in a leaderboard, which no command reads back."""


def rows_json(rows: Iterable[ScoreRow], version: int | None = None) -> str:
    """JSON object ``{"schema": 9, "version": 3, "rows": [...]}`` with the fields of ``ScoreRow``."""
    return value_json({"version": version, "rows": [to_json_types(row) for row in rows]}, SCHEMA_VERSION)


def leaderboard_json(rows: Iterable[ScoreRow], rankings: Iterable[PanelRanking], version: int | None = None) -> str:
    """JSON object with ``rows`` like ``rows_json``, and ``rankings`` with the fields of ``PanelRanking``.

    ``ranking_schema`` is the number of the rankings: 1 (no number) ranked by the mean over cells, 2 by the headline.
    """
    plain_rankings = [to_json_types(ranking) for ranking in rankings]
    content = {
        "version": version,
        "rows": [to_json_types(row) for row in rows],
        "rankings": plain_rankings,
        "ranking_schema": RANKING_SCHEMA,
    }
    return value_json(content, SCHEMA_VERSION)


def comparison_json(comparison: Comparison, ids: bool = False) -> str:
    """JSON object with the fields of ``Comparison`` and the ``exit_code`` of the command.

    Args:
        comparison: the comparison to write.
        ids: whether to include ``lost_ids`` and ``gained_ids``, which can be longer than all other fields together.
    """
    content = comparison.model_dump(exclude=None if ids else {"pairs": {"__all__": {"lost_ids", "gained_ids"}}})
    if not ids:
        del content["sample_names"]
    return value_json({**to_json_types(content), "exit_code": int(comparison.exit_code)})


def gate_json(gate: GateResult) -> str:
    """JSON object with the fields of ``GateResult``, including all ids, and the ``exit_code`` of the command."""
    return value_json({**to_json_types(gate), "exit_code": int(gate.exit_code)})


def noise_floor_json(noise: NoiseFloor) -> str:
    """JSON object with the fields of ``NoiseFloor``, which ``read_noise_floor`` reads back."""
    return value_json(to_json_types(noise), NOISE_SCHEMA)


def verify_json(found: VerifyResult) -> str:
    """JSON object with the fields of ``VerifyResult``, rows as slots, and the ``exit_code`` of the command."""
    content = to_json_types(found)
    for name in ("discrepancies", "missing", "reruns"):
        for entry, item in zip(content[name], getattr(found, name), strict=True):
            entry["row"] = list(item.row.slot)
    return value_json({**content, "exit_code": int(found.exit_code)})


def explain_json(found: Iterable[Explanation]) -> str:
    """JSON object ``{"cells": [...]}`` with the fields of ``Explanation``."""
    return value_json({"cells": [to_json_types(item) for item in found]})


def claims_json(result: ClaimsResult) -> str:
    """JSON object with the fields of ``ClaimsResult`` and the ``exit_code`` of the command."""
    return value_json({**to_json_types(result), "exit_code": int(result.exit_code)})


def value_json(value: Mapping[str, object], schema: int = OUTPUT_SCHEMA) -> str:
    """JSON object with its schema number: indented, with sorted keys, without NaN."""
    return (
        json.dumps({SCHEMA_KEY: schema, **value}, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )

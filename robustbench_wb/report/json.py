"""Scores, comparisons, gates and claims as JSON: the fields of the data classes, sorted keys, no NaN."""

import json
from collections.abc import Iterable
from typing import Any, Final

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
"""Of what no command reads back: comparisons, judgements, ledgers. It rises when a field is taken away or changes its
meaning, not when one is added."""


def rows_json(rows: Iterable[ScoreRow], version: int | None = None) -> str:
    """``{"schema": 9, "version": 3, "rows": [...]}``; the fields of a row are those of :class:`ScoreRow`."""
    return value_json({"version": version, "rows": [to_json_types(row) for row in rows]}, SCHEMA_VERSION)


def leaderboard_json(rows: Iterable[ScoreRow], rankings: Iterable[PanelRanking], version: int | None = None) -> str:
    """As :func:`rows_json`, with ``rankings``: the fields of :class:`PanelRanking`."""
    ranked = [to_json_types(ranking) for ranking in rankings]
    return value_json(
        {"version": version, "rows": [to_json_types(row) for row in rows], "rankings": ranked}, SCHEMA_VERSION
    )


def comparison_json(comparison: Comparison, ids: bool = False) -> str:
    """The fields of :class:`Comparison`, with the ``exit_code`` that the command ends with.

    ``lost_ids`` and ``gained_ids`` of the pairs are there with ``ids`` only: they can be longer than all the rest.
    """
    content = comparison.model_dump(exclude=None if ids else {"pairs": {"__all__": {"lost_ids", "gained_ids"}}})
    return value_json({**to_json_types(content), "exit_code": int(comparison.exit_code)})


def gate_json(gate: GateResult) -> str:
    """The fields of :class:`GateResult`, all ids included, with the ``exit_code`` that the command ends with."""
    return value_json({**to_json_types(gate), "exit_code": int(gate.exit_code)})


def noise_floor_json(noise: NoiseFloor) -> str:
    """Fields of :class:`NoiseFloor` as JSON, which ``read_noise_floor`` reads back."""
    return value_json(to_json_types(noise), NOISE_SCHEMA)


def verify_json(found: VerifyResult) -> str:
    """The fields of :class:`VerifyResult`, rows by their slot, with the ``exit_code`` that the command ends with."""
    content = to_json_types(found)
    for name in ("discrepancies", "missing", "reruns"):
        for entry, item in zip(content[name], getattr(found, name), strict=True):
            entry["row"] = list(item.row.slot)
    return value_json({**content, "exit_code": int(found.exit_code)})


def explain_json(found: Iterable[Explanation]) -> str:
    """``{"cells": [...]}``, with the fields of :class:`Explanation`."""
    return value_json({"cells": [to_json_types(item) for item in found]})


def claims_json(ledger: ClaimsResult) -> str:
    """The fields of :class:`ClaimsResult`, with the ``exit_code`` that the command ends with."""
    return value_json({**to_json_types(ledger), "exit_code": int(ledger.exit_code)})


def value_json(value: dict[str, Any], schema: int = OUTPUT_SCHEMA) -> str:
    """Any JSON object, with the number of its schema: indented, sorted keys, no NaN."""
    return (
        json.dumps({SCHEMA_KEY: schema, **value}, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )

import csv
import io
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.csv import COLUMNS, rows_csv
from robustbench_wb.report.json import comparison_json, rows_json
from tests.report.sample import comparison, run, text_comparison, text_run
from tests.store.make import row

ODD = 'comma, "quote"\nnewline; ünïcode'


def test_csv_through_pandas_and_back() -> None:
    rows = [*run()[0], *text_run()[0], row().model_copy(update={"error": ODD})]
    # Compared as text, because versions of pandas differ in the last bit of a parsed float.
    frame = pd.read_csv(io.StringIO(rows_csv(rows), newline=""), keep_default_na=False, dtype=str)
    assert tuple(frame.columns) == COLUMNS
    assert [ScoreRow.model_validate(entry) for entry in frame.to_dict("records")] == rows


def test_csv_is_rfc_4180() -> None:
    text = rows_csv([row().model_copy(update={"error": ODD})])
    header, rest = text.split("\r\n", 1)
    assert header == ",".join(COLUMNS)
    assert rest.endswith("\r\n")
    assert '"comma, ""quote""\nnewline; ünïcode"' in rest


def test_the_column_order_is_public() -> None:
    expected = (
        *("suite", "suite_version", "scale", "task", "variant", "size", "recipe", "stressor", "strength"),
        *("signature", "seed", "n", "accuracy", "low", "high", "accuracy_high"),
        *("robust", "broken", "wrong", "errored", "not_run", "status", "error", "wobble"),
        *("forwards", "backwards", "seconds", "parameters", "train_seconds"),
        *("weights", "data", "samples", "stressor_code", "model_code", "numerics", "ladder", "key"),
        *("metric", "perplexity", "perplexity_low", "perplexity_high"),
        *("coding_rate", "sparsity", "entropy", "similarity", "layers"),
        *("protocol", "grade", "checks", "realised", "obeyed", "perturbed", "classes", "side"),
        *("shortcut", "shortcut_accuracy", "shortcut_p", "cut", "empty", "family"),
        *("flops", "peak_memory", "checksum", "planned", "stopped"),
        *("miou", "miou_low", "miou_high", "pixel_accuracy", "least_iou"),
        *("ece", "ece_low", "ece_high", "brier", "brier_low", "brier_high", "auroc", "auroc_low", "auroc_high"),
        *("constraint", "text_similarity", "text_similarity_low", "text_similarity_high"),
        *("perplexity_ratio", "perplexity_ratio_low", "perplexity_ratio_high"),
    )
    assert expected == COLUMNS


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_no_text_is_a_formula(text: str) -> None:
    made = row().model_copy(update={"error": text, "variant": text})
    _, line = csv.reader(io.StringIO(rows_csv([made]), newline=""))
    found = dict(zip(COLUMNS, line, strict=True))["error"]
    assert not found.startswith(("=", "+", "-", "@"))
    assert found in (text, f"'{text}")


@pytest.mark.parametrize("start", "=+-@")
def test_formulas_are_quoted_and_numbers_are_not(start: str) -> None:
    text = rows_csv([row().model_copy(update={"error": f"{start}1+1", "seed": -5})])
    assert f",'{start}1+1," in text
    assert ",-5," in text


def refuse(name: str) -> None:
    raise ValueError(name)


def test_json_is_plain_and_complete() -> None:
    rows = [*run()[0], *text_run()[0]]
    read = json.loads(rows_json(rows, 3), parse_constant=refuse)
    assert read["version"] == 3
    assert [ScoreRow.model_validate(entry) for entry in read["rows"]] == rows


def test_comparison_json() -> None:
    made = comparison()
    read = json.loads(comparison_json(made), parse_constant=refuse)
    assert read["exit_code"] == int(made.exit_code) == 0
    verdicts = {pair["verdict"] for pair in read["pairs"]}
    assert verdicts == {"worse", "equivalent", "incomplete", "not comparable"}
    assert read["added"][0]["variant"] == "boosting"


def test_comparison_json_names_the_metric_of_each_pair() -> None:
    read = json.loads(comparison_json(text_comparison()), parse_constant=refuse)
    found = {(pair["metric"], pair["verdict"]) for pair in read["pairs"]}
    assert found >= {("perplexity", "worse"), ("perplexity", "equivalent"), ("accuracy", "better")}
    alone = next(pair for pair in read["pairs"] if pair["new"]["n"] == 1)
    assert (alone["low"], alone["high"], alone["lost"]) == (None, None, None)
    assert alone["difference"] > 0

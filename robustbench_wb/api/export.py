"""``export``: a table in the formats of other tools."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from robustbench_wb.analysis.headline.headline import HeadlinePanel, HeadlineRow
from robustbench_wb.analysis.headline.make_headline import make_headline, records_for_headline
from robustbench_wb.api.history import table_version
from robustbench_wb.errors import MeasurementError, UsageError, as_measurement_error
from robustbench_wb.records.names import variant_name
from robustbench_wb.report.exports.exported_model import ExportedModel, ExportedPanel
from robustbench_wb.report.exports.hf_card import hf_card
from robustbench_wb.report.exports.hf_eval_results import hf_eval_results
from robustbench_wb.report.exports.robustbench_json import PaperFacts, robustbench_json
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.trackers.tracker import TRACKERS, TrackedRun
from robustbench_wb.store.loaded_table import find_records, load_table
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.text_files import is_file, read_text, reason_of


def export_hf(
    model: str | None = None, version: str = "latest", results: str = "results", *, card: str | None = None
) -> str:
    """Model card of Hugging Face with a section on robustness and ``model-index`` metadata.

    Args:
        model: name of the model, like ``vit`` or ``vit-nano``; None if the table has one model.
        version: the table; see ``robustbench_wb.store.loaded_table.load_table``.
        results: folder or Delta URL of versions without a place.
        card: file of the present card, whose other content is kept; it may be missing.

    Raises:
        StoreError: there is no such table.
        UsageError: there is no such model, or the present card cannot be read.
    """
    existing = ""
    if card is not None and is_file(Path(card)):
        try:
            existing = read_text(Path(card))
        except (OSError, ValueError) as error:
            raise UsageError(f"{card} cannot be read: {reason_of(error)}") from error
    return hf_card(_one(exported_models(version, results), model), existing)


def export_hf_results(
    dataset: str,
    task_id: str,
    model: str | None = None,
    *,
    version: str = "latest",
    results: str = "results",
    column: str | None = None,
) -> str:
    """Evaluation result (YAML) of the Hugging Face hub for one benchmark, a file in the folder ``.eval_results``.

    Args:
        dataset: id of the benchmark's dataset on the hub, ``owner/name``.
        task_id: task of the benchmark.
        model: name of the model, like ``vit`` or ``vit-nano``; None if the table has one model.
        version: the table; see ``robustbench_wb.store.loaded_table.load_table``.
        results: folder or Delta URL of versions without a place.
        column: headline number like ``Linf 8/255``; None is the one that ranks.

    Raises:
        StoreError: there is no such table.
        UsageError: there is no such model or number, or ``dataset`` is no id.
    """
    return hf_eval_results(_one(exported_models(version, results), model), dataset, task_id, column=column)


def export_robustbench(
    model: str | None = None,
    version: str = "latest",
    results: str = "results",
    *,
    column: str | None = None,
    facts: PaperFacts | None = None,
) -> str:
    """Model file (JSON) of RobustBench.

    Args:
        model: name of the model, like ``vit`` or ``vit-nano``; None if the table has one model.
        version: the table; see ``robustbench_wb.store.loaded_table.load_table``.
        results: folder or Delta URL of versions without a place.
        column: headline number like ``Linf 8/255``; None is the one that ranks.
        facts: facts about the paper of the model.

    Raises:
        StoreError: there is no such table.
        UsageError: there is no such model or number.
    """
    return robustbench_json(_one(exported_models(version, results), model), facts or PaperFacts(), column)


def export_tracker(
    tracker: str,
    version: str = "latest",
    results: str = "results",
    *,
    model: str | None = None,
    place: str | None = None,
) -> str:
    """Write the numbers of a version to an experiment tracker, a run per model; return where they are.

    Args:
        tracker: ``mlflow``, ``tensorboard``, ``wandb``, or one of a plug-in.
        version: a version like ``v3``.
        results: folder or Delta URL where results live.
        model: name of one model; None: all models.
        place: folder or address; None is the default of the tracker.

    Raises:
        StoreError: there is no such version.
        UsageError: the tracker is unknown or not installed, or it failed.
    """
    write = TRACKERS.get(tracker)
    models = exported_models(version, results)
    chosen = list(models.values()) if model is None else [_one(models, model)]
    try:
        with as_measurement_error(tracker):
            return write([_run(one) for one in chosen], place)
    except MeasurementError as error:
        raise UsageError(str(error)) from error


def exported_models(version: str, results: str) -> dict[tuple[str, ...], ExportedModel]:
    """Models of a table with their headline numbers, by variant, size, recipe and seed.

    Raises:
        StoreError: there is no such table.
        UsageError: records are missing, without which a robust accuracy is only an upper bound.
    """
    side = load_table(version, results)
    records = find_records((side,), records_for_headline(side.rows), results)
    labels = model_labels(side.rows)
    known = table_version(ScoreTable(side.location).info(side.version)) if side.version is not None else None
    panels: dict[tuple[str, ...], list[ExportedPanel]] = {}
    for panel in make_headline(side.rows, records).panels:
        for row in panel.rows:
            _refuse_bounds(panel, row, labels[row.subject])
            own = [one for one in side.rows if one.subject == row.subject and one.panel == panel.key]
            panels.setdefault(row.subject, []).append(ExportedPanel(panel=panel, row=row, rows=own))
    return {
        subject: ExportedModel(
            name=labels[subject],
            panels=own,
            table=side.name,
            version=side.version,
            time="" if known is None else known.time,
            commit="" if known is None else known.commit,
        )
        for subject, own in panels.items()
    }


def _refuse_bounds(panel: HeadlinePanel, row: HeadlineRow, name: str) -> None:
    for column, number in zip(panel.columns, row.numbers, strict=True):
        if column.rule == "joint" and number.low is None:
            raise UsageError(
                f"{column.name} of {name} is only an upper bound, which is not exported: {number.note}; "
                "name the version or results folder that has the records"
            )


def _one(models: Mapping[tuple[str, ...], ExportedModel], model: str | None) -> ExportedModel:
    found = [
        own for subject, own in models.items() if model in (None, own.name, subject[0], variant_name(own.panels[0].row))
    ]
    names = ", ".join(repr(own.name) for own in (found or models.values()))
    if not found:
        raise UsageError(f"model {model!r} is not in the table; known: {names}", "model")
    if len(found) > 1:
        raise UsageError(f"model names one of several models: {names}", "model")
    return found[0]


def _run(model: ExportedModel) -> TrackedRun:
    first = model.panels[0].row
    parameters: dict[str, str | int] = {
        "variant": first.variant,
        "size": first.size,
        "recipe": first.recipe,
        "seed": first.seed,
    }
    facts = {"table": model.table, "time": model.time, "commit": model.commit}
    metrics: dict[str, float] = {}
    for own in model.panels:
        place = f"{own.panel.task} {own.panel.suite}"
        for column, number in own.numbers:
            ends = (("", number.value), (" low", number.low), (" high", number.high))
            metrics |= {f"{place}/{column.name}{end}": value for end, value in ends if value is not None}
        for row in own.rows:
            value = row.accuracy if row.metric == "accuracy" else row.perplexity
            if value is not None and row.status != "error":
                metrics[f"{place}/evaluations/{' '.join(filter(None, (row.stressor, row.strength)))}"] = value
    digest = hashlib.sha256(repr(sorted(parameters.items())).encode()).hexdigest()
    return TrackedRun(
        name=model.name,
        identifier=digest[:16],
        step=model.version or 0,
        parameters=parameters | {name: value for name, value in facts.items() if value},
        metrics=metrics,
    )

"""Evaluation result of the Hugging Face hub: one number of a benchmark, as a file ``.eval_results/NAME.yaml``."""

import json
import re

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.report.exports.exported_model import ExportedModel, metric_name, percent
from robustbench_wb.report.headline_text import number_text


def hf_eval_results(model: ExportedModel, dataset: str, task_id: str, *, column: str | None = None) -> str:
    """File that the hub shows on the page of a model and in the leaderboard of a benchmark; JSON, which is also YAML.

    The format is https://huggingface.co/docs/hub/eval-results. It has room for one value: accuracies are in percent,
    and interval, grade, samples and suite are in ``notes``.

    Args:
        model: the model.
        dataset: id of the benchmark's dataset on the hub, ``owner/name``.
        task_id: task of the benchmark, as its file ``eval.yaml`` names it.
        column: headline number like ``Linf 8/255``; None is the one that ranks.

    Raises:
        UsageError: the model has no such number, or ``dataset`` is no id of the hub.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", dataset):
        raise UsageError(f"dataset {dataset!r} is not the id of a dataset on the hub, like owner/name", "dataset")
    found = {chosen.name: (own, chosen, number) for own in model.panels for chosen, number in own.numbers}
    wanted = column or next((own.panel.main_column.name for own in model.panels), "")
    if wanted not in found:
        raise UsageError(f"column {wanted!r} is unknown; {suggest_names(wanted, list(found))}", "column")
    own, chosen, number = found[wanted]
    panel, value = own.panel, number.value or 0.0
    notes = (
        f"{metric_name(chosen, panel)}: {number_text(number, panel.metric)} (95 % interval, grade); n = {panel.n}, "
        f"seed {own.row.seed}, suite {panel.suite} v{panel.suite_version}, {panel.scale} scale, robustbench_wb"
    )
    entry = EvalResultEntry(
        dataset_id=dataset,
        task_id=task_id,
        value=percent(value) if panel.metric == "accuracy" else value,
        date=model.time or None,
        notes=notes,
    )
    return json.dumps(eval_result_entries_to_yaml([entry]), indent=2, ensure_ascii=False) + "\n"

"""Reader of the files ``samples_<task>_<date>.jsonl`` that lm-evaluation-harness writes with ``--log_samples``.

One line is one document under one filter: ``doc_id``, ``doc``, ``target``, hashes of document, prompt and target, the
names of the ``metrics`` and, under each name, its value. Earlier releases have neither hashes nor the list of metrics.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

from robustbench_wb.errors import StoreError
from robustbench_wb.store.sample_logs.sample_log import Outcomes, SampleLog, number, sample_name
from robustbench_wb.text_files import parse_json, read_text

_NAME: Final = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT[\d.\-]+))?\.jsonl")
_NOT_METRICS: Final = frozenset(
    ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash")
) | {"prompt_hash", "target_hash"}
_NO_FILTER: Final = "none"


def read_lm_eval(name: str, content: bytes) -> SampleLog | None:
    """Read a log of lm-evaluation-harness; None if the file is not called ``.jsonl``.

    Raises:
        StoreError: a line is not a logged sample, or a sample occurs twice.
    """
    if not name.lower().endswith(".jsonl"):
        return None
    cells: dict[tuple[str, str], Outcomes] = {}
    prompts: dict[str, str] = {}
    for line_number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            sample = _name(entry)
            values = _values(entry)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            wanted = "a sample of lm-evaluation-harness (--log_samples)"
            raise StoreError(f"{name!r}: line {line_number} is not {wanted}; the file may be cut off") from error
        part = str(entry.get("filter", _NO_FILTER))
        for metric, value in values.items():
            outcomes = cells.setdefault((metric, "" if part == _NO_FILTER else part), {})
            if sample in outcomes:
                raise StoreError(f"{name!r}: line {line_number}: document {entry['doc_id']} occurs twice ({metric})")
            outcomes[sample] = value
        prompts[sample] = str(entry.get("prompt_hash", ""))
    found = _NAME.fullmatch(Path(name).name)
    return SampleLog(
        tool="lm-eval",
        task=found["task"] if found else "",
        facts=_facts(Path(name), found["task"], found["date"]) if found and found["date"] else {},
        cells=cells,
        prompts=prompts,
        digest=hashlib.sha256(content).hexdigest(),
    )


def _name(entry: dict[str, Any]) -> str:
    hashes = entry.get("doc_hash"), entry.get("target_hash")
    return sample_name(entry["doc_id"], *(hashes if hashes[0] else (entry.get("doc"), entry.get("target"))))


def _values(entry: dict[str, Any]) -> Outcomes:
    """Value of each metric of a sample."""
    metrics = entry.get("metrics") or sorted(entry.keys() - _NOT_METRICS)
    if not isinstance(metrics, list):
        raise TypeError("metrics is not a list of names")
    return {str(metric): number(entry.get(metric)) for metric in metrics}


def _facts(path: Path, task: str, date: str) -> dict[str, str]:
    """Model and settings from the file ``results_<date>.json`` beside the log; empty without a readable one."""
    try:
        results = parse_json(read_text(path.with_name(f"results_{date}.json")))
        config = results.get("config") or {}
        found = {
            "model": results.get("model_name") or config.get("model"),
            "model_args": config.get("model_args"),
            "few-shot examples": (results.get("n-shot") or {}).get(task),
            "task version": (results.get("versions") or {}).get(task),
            "lm-eval": results.get("lm_eval_version"),
        }
    except (OSError, ValueError, AttributeError):
        return {}
    return {key: str(value) for key, value in found.items() if value is not None}

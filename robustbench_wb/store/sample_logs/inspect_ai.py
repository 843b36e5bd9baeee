"""Reader of the logs of inspect_ai: one JSON file, or a zip file ``.eval`` with a JSON file per sample.

A sample has an id, an epoch, input, target and, for each scorer, a value: a number, a letter or word, or a mapping of
these. C and I are correct and incorrect, N is no answer (incorrect), P is partially correct (one half), as in
inspect_ai's own ``value_to_float``.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable
from typing import Any, Final

from robustbench_wb.errors import StoreError
from robustbench_wb.spec import Json
from robustbench_wb.store.sample_logs.sample_log import Outcomes, SampleLog, number, sample_name
from robustbench_wb.store.sample_logs.zip_members import read_member
from robustbench_wb.text_files import parse_json

_WORDS: Final = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_HEADERS: Final = ("header.json", "start.json", "_journal/start.json")
"""Members of a zip file that describe the evaluation, the most complete one first. A run that was killed has the
last."""


def read_inspect_ai(name: str, content: bytes) -> SampleLog | None:
    """Read a log of inspect_ai; None if the file is neither called ``.eval`` nor a JSON file with its fields.

    Raises:
        StoreError: the file is damaged, or has no samples.
    """
    if name.lower().endswith(".eval"):
        header, samples = _open_zip(name, content)
    elif name.lower().endswith(".json"):
        found = _parse_json_log(content)
        if found is None:
            return None
        header, samples = found, found.get("samples") or ()
    else:
        return None
    try:
        return _read(header, samples, content)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, zipfile.BadZipFile) as error:
        raise StoreError(f"{name!r} is a damaged log of inspect_ai: {type(error).__name__}: {error}") from error


def _read(header: dict[str, Any], samples: Iterable[dict[str, Any]], content: bytes) -> SampleLog:
    spec: dict[str, Any] = header["eval"]
    cells: dict[tuple[str, str], Outcomes] = {}
    failed: dict[int, list[str]] = {}
    seen: set[tuple[str, int]] = set()
    for sample in samples:
        name, epoch = sample_name(sample["id"], sample.get("input"), sample.get("target")), int(sample.get("epoch", 1))
        if (name, epoch) in seen:
            raise ValueError(f"sample {sample['id']!r} occurs twice in epoch {epoch}")
        seen.add((name, epoch))
        values = {} if sample.get("error") else _values(sample)
        if not values:
            failed.setdefault(epoch, []).append(name)
        for metric, value in values.items():
            cells.setdefault((metric, f"epoch {epoch}"), {})[name] = value
    for (_, part), outcomes in cells.items():
        outcomes.update(dict.fromkeys(failed.get(int(part.removeprefix("epoch ")), ())))
    single = len({epoch for _, epoch in seen}) <= 1
    return SampleLog(
        tool="inspect_ai",
        task=str(spec["task"]).rpartition("/")[2],
        facts=_facts(spec, header),
        cells={(metric, "" if single else part): outcomes for (metric, part), outcomes in cells.items()},
        requested=_requested(spec, header),
        digest=hashlib.sha256(content).hexdigest(),
    )


def _values(sample: dict[str, Any]) -> Outcomes:
    """Value of each metric of a sample; scorers with several values have one metric each, ``scorer/name``."""
    scores: dict[str, Any] = sample.get("scores") or ({"score": sample["score"]} if sample.get("score") else {})
    found: Outcomes = {}
    for scorer, score in scores.items():
        value = score["value"]
        if isinstance(value, dict):
            found |= {f"{scorer}/{name}": _number(one) for name, one in value.items()}
        else:
            found[scorer] = _number(value)
    return found


def _number(value: Json) -> float | None:
    word = value if isinstance(value, str) else ""
    return _WORDS.get(word, _WORDS.get(word.lower(), number(value)))


def _facts(spec: dict[str, Any], header: dict[str, Any]) -> dict[str, str]:
    facts = {
        "model": spec.get("model"),
        "model_args": spec.get("model_args") or None,
        "task version": spec.get("task_version"),
        "task_args": spec.get("task_args") or None,
        "status": header.get("status"),
        "inspect_ai": (spec.get("packages") or {}).get("inspect_ai"),
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


def _requested(spec: dict[str, Any], header: dict[str, Any]) -> int:
    """Number of samples of an evaluation that did not finish; 0 if it finished, or if the number is unknown."""
    limited = (spec.get("config") or {}).get("limit") is not None
    unfinished = header.get("status", "started") != "success"
    return len((spec.get("dataset") or {}).get("sample_ids") or ()) if unfinished and not limited else 0


def _parse_json_log(content: bytes) -> dict[str, Any] | None:
    """Top level of a JSON log; None for other files."""
    try:
        found = parse_json(content)
    except ValueError:
        return None
    is_log = isinstance(found, dict) and isinstance(found.get("eval"), dict) and "task" in found["eval"]
    return found if is_log else None


def _open_zip(name: str, content: bytes) -> tuple[dict[str, Any], Iterable[dict[str, Any]]]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = set(archive.namelist())
        header = parse_json(read_member(archive, content, next(one for one in _HEADERS if one in members)))
    except (zipfile.BadZipFile, StopIteration, ValueError, KeyError) as error:
        raise StoreError(f"{name!r} is not a log of inspect_ai, or it is cut off") from error
    chosen = sorted(one for one in members if one.startswith("samples/") and one.endswith(".json"))
    return header, (parse_json(read_member(archive, content, one)) for one in chosen)

"""Per-sample log of another evaluation tool: which samples were evaluated, and what each metric says about them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from robustbench_wb.spec import Json

Outcomes: TypeAlias = dict[str, float | None]
"""Value of a metric by name of the sample; None if the sample failed or has no value."""

_SHOWN: Final = 12
"""Displayed hexadecimal digits of the digest of a document."""


@dataclass(frozen=True, kw_only=True)
class SampleLog:
    """Outcomes of one evaluation of one model on one task."""

    tool: str
    """Name of the tool, such as ``lm-eval``."""
    task: str
    """Name of the task; empty if the log does not say it."""
    facts: Mapping[str, str]
    """What the log says about model, prompts and release, by name; differences are named in a comparison."""
    cells: Mapping[tuple[str, str], Outcomes]
    """Outcomes by metric and part; a part is a filter or an epoch, and empty if there is only one."""
    prompts: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Digest of the prompt by name of the sample, if the log has it."""
    requested: int = 0
    """Number of samples that were to be evaluated; 0 if the log has all of them."""
    digest: str
    """SHA-256 (hex) of the file."""


LogReader = Callable[[str, bytes], SampleLog | None]
"""Function from the name and content of a file to its log; None if the file is not a log of this tool."""


def sample_name(identifier: object, *content: object) -> str:
    """Name of a sample, ``ID:DIGEST``: two samples are the same one if identifier and content agree.

    Args:
        identifier: identifier of the document in its data set.
        content: document and target, or digests of them.
    """
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return f"{identifier}:{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:_SHOWN]}"


def number(value: Json) -> float | None:
    """Number of a JSON value, which may be text such as ``"1.0"``; None for all other values."""
    if not isinstance(value, bool | int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None

"""The suite that a request without a suite runs: the one for the kind of its tasks."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from robustbench_wb.errors import UsageError
from robustbench_wb.tasks.catalogue import find_task

IMAGES: Final = "adversarial"
"""Suite of image tasks, and of requests without a task."""
_OTHERS: Final = {
    "adversarial-text": ("sentences", "sst2", "ag_news", "imdb", "imdb-bytes"),
    "contamination-language": ("sentences-lm", "imdb-lm", "wikitext*"),
    "long-sequence": (
        *("digits-sequence", "image-pixels", "listops*", "planted-*", "text-bytes*", "retrieval*"),
        *("pathfinder*", "path-x", "lra-*"),
    ),
}
"""Suites of texts with labels, of language modelling and of long sequences, with the names of their tasks."""


def default_suite(task: str) -> str:
    """Name of the suite for the kind of a task. A task of a plug-in may name it in an attribute ``suite``.

    Raises:
        UnknownNameError: no task has this name.
    """
    found = next((suite for suite, names in _OTHERS.items() if any(fnmatchcase(task, name) for name in names)), IMAGES)
    return str(getattr(find_task(task), "suite", found))


def common_suite(tasks: Sequence[str] | None) -> str:
    """Name of the suite for the kind of all ``tasks``; None: no task is given.

    Raises:
        UnknownNameError: no task has a name.
        UsageError: the tasks are of several kinds.
    """
    found = {default_suite(task): task for task in tasks or ()} or {IMAGES: ""}
    if len(found) > 1:
        either = " and ".join(f"{task!r} ({suite})" for suite, task in found.items())
        raise UsageError(f"tasks {either} have no suite in common; name one suite, or take tasks of one kind", "tasks")
    return next(iter(found))

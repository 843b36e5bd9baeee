"""Interface of experiment trackers, and the registry that names them.

A tracker is one file with a function of the type ``Tracker``, and one line here. It imports its library itself, with
``library``. Packages add trackers by the entry point ``robustbench_wb.trackers``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TypeAlias

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import Registry


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """One model of a version, as a run of a tracker."""

    name: str
    """Name of the run, the same one in every version: ``vit-nano``."""
    identifier: str
    """Letters and digits that identify the run in a project."""
    step: int
    """Number of the version."""
    parameters: Mapping[str, str | int]
    """Model, data and version."""
    metrics: Mapping[str, float]
    """Headline numbers and their intervals, then accuracies or perplexities of all evaluations, by name."""


Tracker: TypeAlias = Callable[[Sequence[TrackedRun], str | None], str]
"""Function that writes runs to a place (a folder or address; None is the default of the library) and says where."""

PROJECT = "robustbench_wb"
"""Name of the project or experiment."""

TRACKERS: Registry[Tracker] = Registry("tracker")
TRACKERS.add("mlflow", "robustbench_wb.report.trackers.mlflow_runs:write_runs", "MLflow: a run per model and version")
TRACKERS.add(
    "tensorboard", "robustbench_wb.report.trackers.tensorboard_runs:write_runs", "TensorBoard: scalars by version"
)
TRACKERS.add("wandb", "robustbench_wb.report.trackers.wandb_runs:write_runs", "Weights & Biases: a run per model")


def library(module: str, extra: str) -> ModuleType:
    """Import the library of a tracker.

    Raises:
        UsageError: it is not installed; the message names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"{extra} is not installed; pip install 'robustbench_wb[{extra}]'") from error

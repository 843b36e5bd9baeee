"""A robustness benchmarking harness for transformers.

Importing this package imports neither torch nor pandas; the names below load their rooms on first use.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

CHANGES_NO_NUMBER: Final = "it only loads public names from other modules"

__version__ = version("robustbench_wb")

_DOOR = {
    "run": "robustbench_wb.api.run",
    "train": "robustbench_wb.api.run",
    "doctor": "robustbench_wb.api.run",
    "diff": "robustbench_wb.api.compare",
    "gate": "robustbench_wb.api.gate",
    "RunRequest": "robustbench_wb.engine.request",
}
__all__ = ["RunRequest", "__version__", "diff", "doctor", "gate", "run", "train"]


def __getattr__(name: str) -> Any:
    """Load a public name from its room on first use (PEP 562)."""
    if name in _DOOR:
        return getattr(import_module(_DOOR[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

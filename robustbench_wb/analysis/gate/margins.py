"""Margins of a gate, per suite, as a project writes them down before it sees a result."""

import tomllib
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.spec import Spec
from robustbench_wb.suites.suite import SUITES

PROJECT_FILE: Final = "pyproject.toml"
_TABLE: Final = ("tool", "robustbench_wb", "gate")


class Margins(Spec):
    """How large a drop is accepted: points of accuracy, percent of perplexity, 0 to 100 (exclusive)."""

    default: float = 1.0
    suites: dict[str, float] = Field(default_factory=dict)
    noise: str | None = None
    """A file of ``selfcheck --save``, whose floors are added where a regression is looked for."""

    def share(self, suite: str) -> float:
        """The margin of a suite, from 0 to 1."""
        return self.suites.get(suite, self.default) / 100

    def check(self, present: Iterable[str]) -> None:
        """Refuse a margin for what is neither a suite of this harness nor among the suites that are ``present``.

        Raises:
            UsageError: names it; a mistyped margin would silently be the default.
        """
        known = {*SUITES.names(), *present}
        for name in self.suites:
            if name not in known:
                raise UsageError(f"a margin is given for the suite {name!r}, which there is not; {_near(name, known)}")


def read_margins(file: str | None = None) -> Margins:
    """The margins of ``[tool.robustbench_wb.gate]`` in a project file, or of the top level of any other TOML file.

    Args:
        file: None is the ``pyproject.toml`` of the current folder, if there is one; it need not have the table.

    Raises:
        UsageError: the file cannot be read, has no such table, or an entry is no margin.
    """
    path = Path(file or PROJECT_FILE)
    if file is None and not path.is_file():
        return Margins()
    try:
        content: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    for part in _TABLE if path.name == PROJECT_FILE else ():
        content = content.get(part, {}) if isinstance(content, dict) else content
    if not isinstance(content, dict) or (file is not None and not content):
        raise UsageError(f"{path} has no margins; write [{'.'.join(_TABLE)}] with, for instance, default = 1.0")
    noise = content.get("noise")
    if noise is not None and not isinstance(noise, str):
        raise UsageError(f"{path}: noise = {noise} is no file")
    margins = {name: parse_margin(value, f"{path}: {name}") for name, value in content.items() if name != "noise"}
    beside = None if noise is None else str(path.parent / noise)
    return Margins(default=margins.pop("default", 1.0), suites=margins, noise=beside)


def parse_margin(value: object, where: str) -> float:
    """A margin in points.

    Raises:
        UsageError: it is no number from 0 to below 100; the message begins with ``where``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or not 0 <= value < 100:
        raise UsageError(f"{where} = {value} is no margin in points, from 0 to below 100")
    return float(value)


def _near(name: str, known: Iterable[str]) -> str:
    return suggest_names(name, sorted(known))

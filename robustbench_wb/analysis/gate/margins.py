"""Gate margins per suite, read from the project's configuration."""

from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import Final

from pydantic import Field

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.spec import Spec
from robustbench_wb.suites.suite import SUITES
from robustbench_wb.text_files import parse_toml, read_text, reason_of

PROJECT_FILE: Final = "pyproject.toml"
_TABLE: Final = ("tool", "robustbench_wb", "gate")


class Margins(Spec):
    """Accepted drops: points of accuracy or percent of perplexity, at least 0 and below 100."""

    default: float = 1.0
    suites: dict[str, float] = Field(default_factory=dict)
    """Margins of single suites; other suites use ``default``."""
    noise: str | None = None
    """File of ``selfcheck --save``, whose noise floors a regression must exceed in addition to the margin."""

    def share(self, suite: str) -> float:
        """Margin of a suite as a share in [0, 1)."""
        return self.suites.get(suite, self.default) / 100

    def require_known_suites(self, present: Iterable[str]) -> None:
        """Reject margins for suites that are neither registered nor ``present`` in the tables.

        Raises:
            UsageError: a suite is unknown. Without this check a misspelt suite would silently use the default.
        """
        known = {*SUITES.names(), *present}
        for name in self.suites:
            if name not in known:
                raise UsageError(
                    f"a margin is given for the unknown suite {name!r}; {suggest_names(name, sorted(known))}"
                )


def read_margins(file: str | None = None) -> Margins:
    """Read ``[tool.robustbench_wb.gate]`` of a ``pyproject.toml``, or the top level of any other TOML file.

    Args:
        file: path of the file. None reads the ``pyproject.toml`` of the current folder, if there is one; the table is
            then optional.

    Raises:
        UsageError: the file cannot be read, lacks the table, or an entry is not a margin.
    """
    path = Path(file or PROJECT_FILE)
    if file is None and not path.is_file():
        return Margins()
    try:
        content: object = parse_toml(read_text(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {reason_of(error)}") from error
    for part in _TABLE if path.name == PROJECT_FILE else ():
        content = content.get(part, {}) if isinstance(content, dict) else content
    if not isinstance(content, dict) or (file is not None and not content):
        raise UsageError(f"{path} has no margins; write [{'.'.join(_TABLE)}] with, for instance, default = 1.0")
    noise = content.get("noise")
    if noise is not None and not isinstance(noise, str):
        raise UsageError(f"{path}: noise = {noise} is not a file name")
    margins = {name: parse_margin(value, f"{path}: {name}") for name, value in content.items() if name != "noise"}
    beside = None if noise is None else str(path.parent / noise)
    return Margins(default=margins.pop("default", 1.0), suites=margins, noise=beside)


def given_margins(margin: float | None, config: str | None = None) -> Margins:
    """Margins from the arguments of a command: one for every suite, or those of a file, see ``read_margins``.

    Args:
        margin: largest accepted drop in every suite, in points; None reads the file.
        config: path of the file; None is the ``pyproject.toml`` of the current folder.

    Raises:
        UsageError: both are given, the margin is out of its range, or the file cannot be used.
    """
    if margin is None:
        return read_margins(config)
    if config is not None:
        raise UsageError("margin and config both give margins; use one of them", "margin", "config")
    return Margins(default=parse_margin(margin, "margin"))


def parse_margin(value: object, where: str) -> float:
    """Check a margin in points.

    Raises:
        UsageError: the value is not a number of at least 0 and below 100; the message begins with ``where``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or not 0 <= value < 100:
        parameter = [where] if where.isidentifier() else []
        raise UsageError(f"{where} = {value} is not a margin; give points of at least 0 and below 100", *parameter)
    return float(value)

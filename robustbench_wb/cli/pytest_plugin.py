"""pytest plugin: ``--robustness-baseline FILE`` adds one test that passes when the gate is open.

pytest loads this in every session of an environment that has the package, so that nothing heavy is imported before
the test runs.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, which are those of the ``gate`` command."""
    group = parser.getgroup("robustness", "robustness gate")
    group.addoption(
        "--robustness-baseline", metavar="FILE", help="judge the latest results against this baseline of robustbench-wb"
    )
    group.addoption("--robustness-version", metavar="VERSION", default="latest", help="what is judged [latest]")
    group.addoption("--robustness-results", metavar="PLACE", default="results", help="where results live [results]")
    group.addoption("--robustness-strict", action="store_true", help="fail on what is undecided, too")


class GateClosedError(Exception):
    """Its message is the text of the gate."""


class GateItem(pytest.Item):
    """The gate as a test."""

    def runtest(self) -> None:
        """Fail with the gate's text; warn of what is undecided."""
        from robustbench_wb.api.gate import gate
        from robustbench_wb.report.gate import gate_blocks, sentence
        from robustbench_wb.report.text import plain

        option = self.config.getoption
        judged = gate(
            option("--robustness-baseline"),
            option("--robustness-version"),
            option("--robustness-results"),
            strict=option("--robustness-strict"),
        )
        if judged.exit_code:
            raise GateClosedError(plain(gate_blocks(judged)))
        for judgement in judged.unproven:
            warnings.warn(pytest.PytestWarning(f"robustness: {sentence(judgement)}"), stacklevel=1)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> str:
        """The text alone: where in this plugin it was raised helps nobody."""
        from robustbench_wb.errors import HarnessError

        if isinstance(excinfo.value, GateClosedError | HarnessError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Under what name it is reported."""
        return self.path, None, self.name


class GateFile(pytest.File):
    """The baseline as a file with one test."""

    def collect(self) -> Iterator[GateItem]:
        """The gate."""
        yield GateItem.from_parent(self, name="robustness gate")


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the gate behind all other tests, wherever those are."""
    baseline = config.getoption("--robustness-baseline")
    if baseline is not None:
        file = GateFile.from_parent(session, path=config.invocation_params.dir / baseline, name=baseline)
        gates: Sequence[pytest.Item] = list(file.collect())
        items.extend(gates)

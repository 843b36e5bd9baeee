"""pytest plugin: ``--robustness-baseline FILE`` adds one test that passes when the gate is open.

pytest loads this module in every session of an environment that has the package, so heavy imports wait until the test
runs.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the gate."""
    group = parser.getgroup("robustness", "robustness gate")
    group.addoption(
        "--robustness-baseline", metavar="FILE", help="judge the latest results against this baseline of robustbench-wb"
    )
    group.addoption("--robustness-version", metavar="VERSION", default="latest", help="version to judge [latest]")
    group.addoption("--robustness-results", metavar="PLACE", default="results", help="where results live [results]")
    group.addoption("--robustness-strict", action="store_true", help="also fail on undecided results")


class GateClosedError(Exception):
    """Failure of the gate; the message is the printed result of the gate."""


class GateItem(pytest.Item):
    """Test that runs the gate."""

    def runtest(self) -> None:
        """Run the gate: fail with its printed result, and warn about undecided results."""
        from robustbench_wb.api.gate import gate
        from robustbench_wb.report.gate import decision_text, gate_blocks
        from robustbench_wb.report.text_block import plain_text

        option = self.config.getoption
        judged = gate(
            option("--robustness-baseline"),
            option("--robustness-version"),
            option("--robustness-results"),
            strict=option("--robustness-strict"),
        )
        if judged.exit_code:
            raise GateClosedError(plain_text(gate_blocks(judged)))
        for judgement in judged.unproven:
            warnings.warn(pytest.PytestWarning(f"robustness: {decision_text(judgement)}"), stacklevel=1)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> str:
        """Printed result of the gate without a traceback into this plugin."""
        from robustbench_wb.errors import HarnessError

        if isinstance(excinfo.value, GateClosedError | HarnessError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name of the test in reports."""
        return self.path, None, self.name


class GateFile(pytest.File):
    """Test file that stands for the baseline and has one test."""

    def collect(self) -> Iterator[GateItem]:
        """Test of the gate."""
        yield GateItem.from_parent(self, name="robustness gate")


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append the gate after all other tests."""
    baseline = config.getoption("--robustness-baseline")
    if baseline is not None:
        file = GateFile.from_parent(session, path=config.invocation_params.dir / baseline, name=baseline)
        gates: Sequence[pytest.Item] = list(file.collect())
        items.extend(gates)

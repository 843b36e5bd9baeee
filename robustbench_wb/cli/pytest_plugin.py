"""pytest plugin: ``--robustness-baseline FILE`` adds a test per evaluation and per model, and one for the whole gate.

pytest loads this module in every session of an environment that has the package, so heavy imports wait until the gate
is asked for.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # heavy imports, see above
    from robustbench_wb.analysis.gate.gate_result import GateResult
    from robustbench_wb.errors import HarnessError


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
    """Test with one verdict of the gate."""

    failure = ""
    """Text of the failure; empty if the test passes."""
    warning = ""
    """Text of a warning; empty without one."""

    def runtest(self) -> None:
        """Fail with the text of the verdict, or warn about an undecided one."""
        if self.failure:
            raise GateClosedError(self.failure)
        if self.warning:
            warnings.warn(pytest.PytestWarning(f"robustness: {self.warning}"), stacklevel=1)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> str:
        """Text of the verdict without a traceback into this plugin."""
        if isinstance(excinfo.value, GateClosedError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name of the test in reports."""
        return self.path, None, self.name


class GateFile(pytest.File):
    """Test file that stands for the baseline."""

    def collect(self) -> Iterator[GateItem]:
        """Tests of all verdicts, then of the whole gate; the latter alone if the gate cannot be run."""
        from robustbench_wb.analysis.compare.comparison import CellDifference
        from robustbench_wb.report.gate import case_name, changed_ids, decision_names, decision_text, gate_blocks
        from robustbench_wb.report.text_block import plain_text, printable

        whole: GateItem = GateItem.from_parent(self, name="robustness gate")
        judged = self._judge()
        if isinstance(judged, Exception):
            whole.failure = str(judged)
            yield whole
            return
        unproven = [id(decision) for decision in judged.unproven]
        for decision in judged.judgements:
            against = "" if decision.against == "baseline" else f" ({decision.against})"
            name = f"{decision_names(decision).model}, {case_name(decision)}{against}"
            item: GateItem = GateItem.from_parent(self, name=printable(name))
            text = decision_text(decision)
            if judged.failing(decision):
                ids = changed_ids(decision.found) if isinstance(decision.found, CellDifference) else ""
                item.failure = "\n".join(filter(None, (text, ids)))
            elif id(decision) in unproven:
                item.warning = text
            yield item
        whole.failure = plain_text(gate_blocks(judged)) if judged.exit_code else ""
        yield whole

    def _judge(self) -> "GateResult | HarnessError":
        from robustbench_wb.api.gate import gate
        from robustbench_wb.errors import HarnessError

        option = self.config.getoption
        try:
            return gate(
                option("--robustness-baseline"),
                option("--robustness-version"),
                option("--robustness-results"),
                strict=option("--robustness-strict"),
            )
        except HarnessError as error:
            return error


@pytest.hookimpl(tryfirst=True)  # before tests are deselected by name
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append the verdicts of the gate after all other tests."""
    baseline = config.getoption("--robustness-baseline")
    if baseline is not None:
        file = GateFile.from_parent(session, path=config.invocation_params.dir / baseline, name=baseline)
        gates: Sequence[pytest.Item] = list(file.collect())
        items.extend(gates)

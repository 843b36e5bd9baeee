"""Gates and claims as JUnit XML: a test case per cell and per model, or per sentence."""

from typing import Final
from xml.etree import ElementTree as Xml

from robustbench_wb.analysis.claims.claims_result import ClaimsResult
from robustbench_wb.analysis.compare.comparison import CellDifference
from robustbench_wb.analysis.gate.gate_result import GateDecision, GateResult
from robustbench_wb.report.claims import claims_headline, evidence_text
from robustbench_wb.report.gate import case_name, changed_ids, decision_names, decision_text, gate_headline
from robustbench_wb.report.text_block import printable

_NOT_JUDGED: Final = ("not comparable", "incomplete", "missing")
"""Outcomes reported as ``error``; other failing outcomes are reported as ``failure``."""


def gate_junit(gate: GateResult) -> str:
    """One ``testcase`` per decision: ``failure`` for regressions and grades, ``error`` for cells without a test.

    An undecided test case passes with a note in ``system-out``, unless the gate is strict.
    """
    root = Xml.Element("testsuites", name=printable(gate_headline(gate)))
    for against in dict.fromkeys(decision.against for decision in gate.judgements):
        suite = Xml.SubElement(root, "testsuite", name=f"robustness against the {against}")
        for decision in gate.judgements:
            if decision.against == against:
                _case(suite, gate, decision)
    return _text(root)


def claims_junit(result: ClaimsResult) -> str:
    """One ``testcase`` per sentence: ``failure`` for a refuted sentence, ``error`` for one that could not be tested.

    An undecided test case passes with a note in ``system-out``, unless the check is strict.
    """
    root = Xml.Element("testsuites", name=printable(claims_headline(result)))
    suite = Xml.SubElement(root, "testsuite", name="claims")
    for checked in result.claims:
        case = Xml.SubElement(suite, "testcase", classname="claims", name=printable(checked.sentence.text))
        text = printable("; ".join(part for part in (checked.verdict, checked.reason, evidence_text(checked)) if part))
        if checked.verdict in _NOT_JUDGED:
            Xml.SubElement(case, "error", type=checked.verdict, message=text)
        elif checked.verdict == "refuted" or (result.strict and checked.verdict == "undecided"):
            Xml.SubElement(case, "failure", type=checked.verdict, message=text)
        else:
            Xml.SubElement(case, "system-out").text = text
    return _text(root)


def _text(root: Xml.Element) -> str:
    """XML text, with the numbers of test cases, failures and errors in every suite and in total."""
    for suite in root:
        for name, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
            suite.set(name, str(len(suite.findall(path))))
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Xml.Element, gate: GateResult, decision: GateDecision) -> None:
    model, name = decision_names(decision).model, case_name(decision)
    case = Xml.SubElement(suite, "testcase", classname=printable(model), name=printable(name))
    text = printable(decision_text(decision))
    if gate.failing(decision):
        tag = "error" if decision.outcome in _NOT_JUDGED else "failure"
        details = Xml.SubElement(case, tag, type=decision.outcome, message=text)
        if isinstance(decision.found, CellDifference):
            details.text = changed_ids(decision.found)
    elif decision.outcome == "undecided":
        Xml.SubElement(case, "system-out").text = text

"""Gates and claims as JUnit XML: a test case per cell and per subject, or per sentence."""

from typing import Final
from xml.etree import ElementTree as Xml

from robustbench_wb.analysis.claims.claims_result import ClaimsResult
from robustbench_wb.analysis.compare.comparison import CellDifference
from robustbench_wb.analysis.gate.gate_result import GateDecision, GateResult
from robustbench_wb.report.claims import claims_headline as ledger_headline
from robustbench_wb.report.claims import evidence_text
from robustbench_wb.report.gate import changed_ids, decision_names, decision_text, gate_headline
from robustbench_wb.report.text_block import printable

_NOT_JUDGED: Final = ("not comparable", "incomplete", "missing")
"""Outcomes that are errors; the others that close the gate are failures."""


def gate_junit(gate: GateResult) -> str:
    """One ``testcase`` per judgement: ``failure`` for what is bad, ``error`` for what could not be judged.

    What is undecided passes and says so in ``system-out``, unless the gate is strict.
    """
    root = Xml.Element("testsuites", name=printable(gate_headline(gate)))
    for against in dict.fromkeys(judgement.against for judgement in gate.judgements):
        suite = Xml.SubElement(root, "testsuite", name=f"robustness against the {against}")
        for judgement in gate.judgements:
            if judgement.against == against:
                _case(suite, gate, judgement)
    return _text(root)


def claims_junit(ledger: ClaimsResult) -> str:
    """One ``testcase`` per sentence, as above: ``failure`` for what is refuted."""
    root = Xml.Element("testsuites", name=printable(ledger_headline(ledger)))
    suite = Xml.SubElement(root, "testsuite", name="claims")
    for checked in ledger.claims:
        case = Xml.SubElement(suite, "testcase", classname="claims", name=printable(checked.sentence.text))
        text = printable("; ".join(part for part in (checked.verdict, checked.reason, evidence_text(checked)) if part))
        if checked.verdict in _NOT_JUDGED:
            Xml.SubElement(case, "error", type=checked.verdict, message=text)
        elif checked.verdict == "refuted" or (ledger.strict and checked.verdict == "undecided"):
            Xml.SubElement(case, "failure", type=checked.verdict, message=text)
        else:
            Xml.SubElement(case, "system-out").text = text
    return _text(root)


def _text(root: Xml.Element) -> str:
    """The document, with the numbers of test cases, failures and errors of every suite and of all."""
    for suite in root:
        for name, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
            suite.set(name, str(len(suite.findall(path))))
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Xml.Element, gate: GateResult, judgement: GateDecision) -> None:
    subject, cell, _ = decision_names(judgement)
    name = f"{cell}, credibility" if judgement.outcome == "doubtful" else cell
    case = Xml.SubElement(suite, "testcase", classname=printable(subject), name=printable(name))
    text = printable(decision_text(judgement))
    if gate.failing(judgement):
        tag = "error" if judgement.outcome in _NOT_JUDGED else "failure"
        details = Xml.SubElement(case, tag, type=judgement.outcome, message=text)
        if isinstance(judgement.found, CellDifference):
            details.text = changed_ids(judgement.found)
    elif judgement.outcome == "undecided":
        Xml.SubElement(case, "system-out").text = text

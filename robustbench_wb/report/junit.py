"""A gate as JUnit XML: a suite per side that was compared with, a test case per cell and per subject."""

from typing import Final
from xml.etree import ElementTree as Xml

from robustbench_wb.report.gate import about, changed_ids, headline, sentence
from robustbench_wb.report.text import clean
from robustbench_wb.stats.comparison import Pair
from robustbench_wb.stats.judgement import Gate, Judgement

_NOT_JUDGED: Final = ("not comparable", "incomplete", "missing")
"""Outcomes that are errors; the others that close the gate are failures."""


def gate_junit(gate: Gate) -> str:
    """One ``testcase`` per judgement: ``failure`` for what is bad, ``error`` for what could not be judged.

    What is undecided passes and says so in ``system-out``, unless the gate is strict.
    """
    root = Xml.Element("testsuites", name=clean(headline(gate)))
    for against in dict.fromkeys(judgement.against for judgement in gate.judgements):
        members = [judgement for judgement in gate.judgements if judgement.against == against]
        suite = Xml.SubElement(root, "testsuite", name=f"robustness against the {against}", tests=str(len(members)))
        for judgement in members:
            _case(suite, gate, judgement)
        for tag in ("failure", "error"):
            suite.set(f"{tag}s", str(len(suite.findall(f"testcase/{tag}"))))
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Xml.Element, gate: Gate, judgement: Judgement) -> None:
    subject, cell, _ = about(judgement)
    name = f"{cell}, credibility" if judgement.outcome == "doubtful" else cell
    case = Xml.SubElement(suite, "testcase", classname=clean(subject), name=clean(name))
    text = clean(sentence(judgement))
    if gate.failing(judgement):
        tag = "error" if judgement.outcome in _NOT_JUDGED else "failure"
        details = Xml.SubElement(case, tag, type=judgement.outcome, message=text)
        if isinstance(judgement.found, Pair):
            details.text = changed_ids(judgement.found)
    elif judgement.outcome == "undecided":
        Xml.SubElement(case, "system-out").text = text

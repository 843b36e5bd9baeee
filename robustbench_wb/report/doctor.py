"""Findings of the doctor as a table, one row per check, with the recommended fixes below."""

from textwrap import wrap

from robustbench_wb.engine.doctor.diagnosis import Diagnosis
from robustbench_wb.report.text_block import GAP, Column, TextBlock, counted

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def diagnosis_blocks(diagnosis: Diagnosis, width: int | None = None) -> list[TextBlock]:
    """Table of the findings, then the fixes and the number of failed checks.

    Args:
        diagnosis: findings of the doctor.
        width: terminal columns to wrap measured values to; None does not wrap.
    """
    name = max(len("check"), *(len(finding.check) for finding in diagnosis.findings))
    room = None if width is None else max(20, width - name - len("skipped") - 2 * GAP)
    lines: list[tuple[str, ...]] = []
    for finding in diagnosis.findings:
        first, *rest = wrap(finding.measured, room) if room else [finding.measured]
        lines.append((finding.check, finding.verdict, first))
        lines += [("", "", line) for line in rest]
    subject = "-".join(part for part in (diagnosis.subject, diagnosis.size) if part)
    findings = TextBlock(
        title=f"{subject} on {diagnosis.task}, {diagnosis.device}",
        columns=(Column("check"), Column("verdict"), Column("measured")),
        rows=tuple(lines),
        styles=_STYLES,
    )
    fixes = tuple(f"{f.verdict}: {f.check}: {f.fix}" for f in diagnosis.findings if f.fix)
    counts = {verdict: sum(f.verdict == verdict for f in diagnosis.findings) for verdict in ("fail", "warn")}
    last = f"{counted(len(diagnosis.findings), 'check')}: {counts['fail']} failed, {counts['warn']} with warnings"
    return [findings, TextBlock(notes=(*fixes, last))]

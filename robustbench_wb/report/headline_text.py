"""Headline numbers as text."""

from robustbench_wb.analysis.headline.headline import HeadlineNumber
from robustbench_wb.records.names import Metric
from robustbench_wb.report.scores import perplexity_text


def value_text(value: float | None, metric: Metric) -> str:
    """Accuracy in percent like ``81.4``, or perplexity; ``none`` without a value."""
    if value is None:
        return "none"
    return f"{100 * value:.1f}" if metric == "accuracy" else perplexity_text(value)


def number_interval(number: HeadlineNumber, metric: Metric) -> str:
    """Interval like ``[77.0, 85.1]``; empty without one."""
    if number.low is None:
        return ""
    high = "inf" if number.high is None else value_text(number.high, metric)
    return f"[{value_text(number.low, metric)}, {high}]"


def number_text(number: HeadlineNumber, metric: Metric) -> str:
    """Value with interval and grade, like ``81.4 [77.0, 85.1] A``."""
    parts = (value_text(number.value, metric), number_interval(number, metric), number.grade)
    return " ".join(part for part in parts if part)

"""Headline numbers over seeds as LaTeX tables (booktabs)."""

from robustbench_wb.analysis.over_seeds.seed_means import Architecture, SeedMean, SeedMeans, SeedPanel
from robustbench_wb.report.headline_text import value_text
from robustbench_wb.report.latex import NEEDS, booktabs, heading_latex, label_names, latex_text
from robustbench_wb.report.model_labels import recipe_text
from robustbench_wb.report.over_seeds import architecture_names, deviation_text
from robustbench_wb.report.text_block import counted


def seed_means_latex(means: SeedMeans) -> str:
    """One ``table`` environment per panel: a row per architecture, best first, and a column per headline number.

    Numbers are mean and standard deviation over seeds, with the 95 % interval. An empty text without panels.
    """
    labels = label_names(f"{panel.task}-{panel.suite}-seeds" for panel in means.panels)
    return NEEDS + "\n".join(map(_table, means.panels, labels)) if means.panels else ""


def _table(panel: SeedPanel, label: str) -> str:
    shown = [at for at, column in enumerate(panel.columns) if column.first or at == panel.main]
    rows = [
        [latex_text(name), *(_number(panel, line, at) for at in shown)]
        for name, line in zip(architecture_names(panel), panel.lines, strict=True)
    ]
    headings = ["Model", *(heading_latex(panel.columns[at].name) for at in shown)]
    return booktabs(headings, rows, caption=_caption(panel), label=label)


def _number(panel: SeedPanel, line: Architecture, at: int) -> str:
    number = line.numbers[at]
    if number.mean is None:
        return "--"
    text = value_text(number.mean, panel.metric)
    if at == panel.main and (line is panel.lines[0] or set(line.group) & set(panel.lines[0].group)):
        text = f"\\textbf{{{text}}}"
    if number.bound:
        text = f"$\\le$ {text}"
    if number.deviation is not None:
        text += f" $\\pm$ {deviation_text(panel, number.deviation)}"
    if number.grade in ("C", "F"):
        text += f"\\textsuperscript{{{number.grade}}}"
    return text + _brackets(panel, number)


def _brackets(panel: SeedPanel, number: SeedMean) -> str:
    if number.low is None:
        return ""
    high = "$\\infty$" if number.high is None else value_text(number.high, panel.metric)
    return f" {{\\scriptsize [{value_text(number.low, panel.metric)}, {high}]}}"


def _caption(panel: SeedPanel) -> str:
    what = "Robust accuracy (\\%)" if panel.metric == "accuracy" else "Perplexity"
    counts = sorted({len(line.seeds) for line in panel.lines})
    seeds = counted(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    suite = latex_text(f"{panel.suite} v{panel.suite_version}")
    where = f"{latex_text(panel.task)}, suite {suite}, {latex_text(panel.scale)} scale"
    recipe = latex_text(recipe_text(panel.lines))
    where = f"{where}, {recipe}" if recipe else where
    sentences = [
        f"{what} on {where}, $n = {panel.n}$, {seeds}.",
        "Mean $\\pm$ standard deviation over seeds.",
    ]
    if any(number.low is not None for line in panel.lines for number in line.numbers):
        sentences.append("Brackets: 95\\,\\% intervals over seeds and samples.")
    if panel.main_column.rule == "joint":
        sentences.append("Robust means correct under every attack of the suite at that radius.")
    by = heading_latex(panel.main_column.name)
    if panel.lines[0].group:
        tested = f"paired by seed and sample, Holm-corrected over {counted(panel.tests, 'pair')}"
        sentences.append(f"Bold: not significantly different from the best mean by {by} ({tested}).")
    else:
        sentences.append(f"Bold: best mean by {by}, which is no test.")
    if any(number.bound for line in panel.lines for number in line.numbers):
        sentences.append("$\\le$ marks the lowest accuracy of the attacks, because records of samples are missing.")
    if any(number.grade in ("C", "F") for line in panel.lines for number in line.numbers):
        sentences.append("C and F mark upper bounds: the attacks were probably too weak.")
    return " ".join(sentences)

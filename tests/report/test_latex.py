"""LaTeX tables are well formed for any name, and compile."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_wb.analysis.headline.make_headline import make_headline
from robustbench_wb.analysis.over_seeds.average_seeds import average_seeds
from robustbench_wb.report.latex import headline_latex, latex_text
from robustbench_wb.report.over_seeds_latex import seed_means_latex
from tests.analysis.test_history import GOOD, WORSE, measured

NAME = "my_net.py:a%b&c~d;lam=0.5#{e}^f\\g$h[i]*<j>|'\"`--,,é"
ESCAPED = r"my\_net.py:a\%b\&c\textasciitilde{}d;lam=0.5\#\{e\}\textasciicircum{}f\textbackslash{}g\$h{[}i{]}{*}"


def tables(name: str) -> str:
    rows, records = measured(GOOD, "a", name)
    for seed, weights in ((0, "b"), (1, "c")):
        more, own = measured(WORSE, weights, "vit", seed=seed)
        rows += [one.model_copy(update={"seed": seed}) for one in more]
        records |= own
    return headline_latex(make_headline(rows, records)) + seed_means_latex(average_seeds(rows, records))


def bare(text: str) -> str:
    """Text without comments, commands, escaped signs and formulas: what is left must be no sign of LaTeX."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    found = re.sub(r"\\([a-zA-Z]+\*?|.)", "", "\n".join(lines).replace("\\\\", ""))
    return re.sub(r"\$[^$]*\$", "", found)


def test_names_are_escaped_and_rows_have_all_columns() -> None:
    text = tables(NAME)
    assert ESCAPED in text
    assert text.count(r"\begin{tabular}") == 2
    for table in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, flags=re.S):
        columns = len(re.match(r"\\begin\{tabular\}\{(lr*)\}", table)[1])  # type: ignore[index]
        lines = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 3  # the heading and two models
        assert {bare(line).count("&") for line in lines} == {columns - 1}
        assert [rule in table for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [True] * 3
    assert not set(bare(text)) & set("%#_^~$\\")


@pytest.mark.slow(1)
@given(st.text(max_size=40))
@settings(max_examples=100)
def test_any_text_is_balanced_and_has_no_active_sign(text: str) -> None:
    found = bare(latex_text(text))
    assert found.count("{") == found.count("}")
    assert not set(found) & set("%#_^~$&\\\n")


@pytest.mark.slow(10)
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_the_tables_compile(tmp_path: Path) -> None:
    preamble = r"\documentclass{article}\usepackage{booktabs,textcomp}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{preamble}\n{tables(NAME)}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000

"""The leaderboard as a page of its own: per panel the ranking, the costs and the scores."""

from collections.abc import Sequence

from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.template import render
from robustbench_wb.report.leaderboard import ranking_blocks, ranking_title
from robustbench_wb.report.scores import leaderboard_blocks


def leaderboard_page(
    name: str, rows: Sequence[ScoreRow], rankings: Sequence[PanelRanking], version: int | None = None
) -> str:
    """One HTML document that loads nothing, see :func:`robustbench_wb.report.html.template.render`.

    Args:
        name: of the table, like ``v3`` or ``board.csv``.
        rows: of the table.
        rankings: of the same rows.
        version: number of the table version, for the notes.
    """
    panels = [
        {"anchor": f"panel-{number}", "title": ranking_title(ranking), "blocks": ranking_blocks([ranking])}
        for number, ranking in enumerate(rankings, 1)
    ]
    return render("board.html", name=name, panels=panels, scores=leaderboard_blocks(rows, version))

"""Leaderboard as an HTML page: for each panel the ranking, the costs and the scores."""

from collections.abc import Sequence

from robustbench_wb.analysis.headline.headline import Headline
from robustbench_wb.analysis.leaderboard.panel_ranking import PanelRanking
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.template import PageLink, render
from robustbench_wb.report.leaderboard import ranking_blocks, ranking_title
from robustbench_wb.report.scores import leaderboard_blocks


def leaderboard_page(
    name: str,
    rows: Sequence[ScoreRow],
    rankings: Sequence[PanelRanking],
    version: int | None = None,
    *,
    links: Sequence[PageLink] = (),
) -> str:
    """Self-contained HTML document, see ``robustbench_wb.report.html.template.render``.

    Args:
        name: name of the table, like ``v3`` or ``board.csv``.
        rows: rows of the table.
        rankings: rankings of these rows.
        version: number of the table version, for the notes.
        links: links to the other pages of a site.
    """
    panels = [
        {"anchor": f"panel-{number}", "title": ranking_title(ranking), "blocks": ranking_blocks([ranking])}
        for number, ranking in enumerate(rankings, 1)
    ]
    headline = Headline(panels=tuple(ranking.headline for ranking in rankings))
    scores = leaderboard_blocks(rows, headline, version=version)
    return render("leaderboard.html", links=links, name=name, panels=panels, scores=scores)

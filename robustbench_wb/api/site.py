"""``site``: report, leaderboard, history and comparisons of a results folder as linked static pages."""

from robustbench_wb.api.history import history
from robustbench_wb.api.leaderboard import leaderboard
from robustbench_wb.api.report import report
from robustbench_wb.errors import UsageError
from robustbench_wb.report.html.leaderboard import leaderboard_page
from robustbench_wb.report.html.page import report_page
from robustbench_wb.report.html.site import BOARD, HISTORY, START, history_page, start_page, version_file
from robustbench_wb.report.html.template import PageLink


def site(results: str = "results", *, last: int = 20) -> dict[str, bytes]:
    """Make the pages of a results folder: a start page, the leaderboard, the history, and a report per version with
    what changed since the version before.

    Pages link to each other by file name, so they can be opened from a folder and served from any address. Each page
    loads nothing else.

    Args:
        results: folder or Delta URL where results live.
        last: number of versions with a report, the newest ones.

    Returns:
        Content of each file, by its name.

    Raises:
        StoreError: there are no results.
        UsageError: ``last`` is not positive.
    """
    if last < 1:
        raise UsageError(f"last {last} is no number of versions; give 1 or more", "last")
    name = results.rstrip("/").rpartition("/")[2] or results  # a published page names no folders of its author
    found = history(None, results).model_copy(update={"location": name})
    numbers = [version.number for version in found.versions]
    shown = numbers[-last:]
    links = (
        PageLink("Start", START),
        PageLink("Leaderboard", BOARD),
        PageLink("History", HISTORY),
        PageLink("Latest report", version_file(numbers[-1])),
    )
    board = leaderboard("latest", results)
    pages = {HISTORY: history_page(found, links)}
    for number in shown:
        before = f"v{number - 1}" if number - 1 in numbers else None
        contents = report(f"v{number}", results, against=before)
        pages[version_file(number)] = report_page(contents, links)
    pages[START] = start_page(name, contents.panels, found, pages=shown, links=links)
    pages[BOARD] = leaderboard_page(board.name, board.rows, board.rankings, version=board.version, links=links)
    return {name: text.encode() for name, text in sorted(pages.items())}

"""``report``: everything that the HTML page of one table shows."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

from robustbench_wb.analysis.curves.corruption_errors import corruption_errors
from robustbench_wb.analysis.curves.length_curves import length_curves
from robustbench_wb.analysis.curves.strength_curves import strength_curves
from robustbench_wb.api.compare import compare_loaded
from robustbench_wb.engine.perturbed_samples import remake_samples
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.trust import trusted_requests
from robustbench_wb.errors import HarnessError
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.record import Record
from robustbench_wb.report.html.gallery import Gallery, GalleryCell, gallery_cells, make_gallery
from robustbench_wb.report.html.page import ReportContents
from robustbench_wb.store.loaded_table import LoadedTable, find_records, load_table
from robustbench_wb.store.run_requests import find_run_requests
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.task import Dataset


def report(
    version: str = "latest",
    results: str = "results",
    *,
    against: str | None = None,
    gallery: bool = False,
    variants: Sequence[str] = (),
    trust_code: bool = False,
    data_dir: str | None = None,
    progress: Progress | None = None,
) -> ReportContents:
    """Gather everything that the HTML page of one table shows; ``report(...).html()`` is the page.

    Args:
        version: a version, ``PLACE:VERSION``, a results folder, or a file of ``leaderboard``; see
            ``robustbench_wb.store.loaded_table.load_table``.
        results: folder or Delta URL of versions without a place, and of the records of files.
        against: an earlier table, named likewise, to compare with.
        gallery: whether to show broken samples. Their tasks are loaded, if possible from ``data_dir``, and the samples
            are perturbed again by models from the cache or trained again.
        variants: models ``path.py:factory`` whose code you trust. The gallery leaves out other models that the table
            names as code of files.
        trust_code: trust all code that the table names.
        data_dir: local mirror in hub layout.
        progress: told what is measured again.

    Raises:
        StoreError: there is no such version, folder or file.
    """
    side = load_table(version, results)
    trusted = partial(trusted_requests, named=variants, trust_code=trust_code)
    records = find_records((side,), [row.key for row in side.rows if row.key], results)
    return ReportContents(
        name=side.name,
        rows=side.rows,
        version=side.version,
        provenance=_provenance(side),
        curves=strength_curves(side.rows, records),
        lengths=length_curves(side.rows, records),
        errors=corruption_errors(side.rows, records),
        comparison=None if against is None else compare_loaded(load_table(against, results), side, results),
        gallery=_gallery(side, records, trusted, data_dir=data_dir, progress=progress or SilentProgress())
        if gallery
        else (),
    )


def _provenance(side: LoadedTable) -> dict[str, object]:
    if side.version is None:
        return {}
    info = ScoreTable(side.location).info(side.version)
    return {"committed": info.time.isoformat(timespec="seconds"), **info.provenance}


def _gallery(
    side: LoadedTable,
    records: Mapping[str, Record],
    trusted: Callable[[list[RunRequest]], tuple[list[RunRequest], dict[str, str]]],
    *,
    data_dir: str | None,
    progress: Progress,
) -> list[Gallery]:
    """Broken samples, perturbed again: perturbed inputs are not stored."""

    @cache
    def load(label: str) -> Dataset | str:
        name = label.removesuffix("-validation")
        try:
            dataset = find_task(name).load(data_dir)
            return dataset if name == label else dataset.on_validation()
        except HarnessError as error:
            return f"the samples cannot be had: {error}"

    chosen = gallery_cells(side.rows, records, load)
    wanted = [one for choice in chosen if isinstance(choice, GalleryCell) for one in choice.wanted]
    requests, withheld = trusted(
        [request.model_copy(update={"data_dir": data_dir}) for request in find_run_requests(side)]
    )
    sight = remake_samples(requests, wanted, progress, withheld=withheld)
    return [choice if isinstance(choice, Gallery) else make_gallery(choice, sight) for choice in chosen]

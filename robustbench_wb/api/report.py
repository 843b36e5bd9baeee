"""``report``: everything that the HTML page of one table shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from robustbench_wb.analysis.curves.corruption_errors import corruption_errors
from robustbench_wb.analysis.curves.length_curves import length_curves
from robustbench_wb.analysis.curves.strength_curves import strength_curves
from robustbench_wb.analysis.headline.make_headline import make_headline
from robustbench_wb.api.compare import compare_loaded
from robustbench_wb.engine.perturbed_samples import remake_samples
from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.trust import trusted_requests
from robustbench_wb.errors import HarnessError
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.records.perturbed_sample import PerturbedSamples, SampleSelection
from robustbench_wb.records.record import Record
from robustbench_wb.report.html.flip_gallery import FlipCell, flip_cells, make_flip_gallery
from robustbench_wb.report.html.gallery import Gallery, GalleryCell, gallery_cells, make_gallery
from robustbench_wb.report.html.page import ReportContents
from robustbench_wb.store.loaded_table import LoadedTable, find_records, load_table
from robustbench_wb.store.run_requests import find_run_requests
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.tasks.catalogue import FOLDER, MASKS, find_task, takes_options
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
        gallery: whether to show broken samples, and with ``against`` those that flipped. Their tasks are loaded, if
            possible from ``data_dir``, and the samples are perturbed again by models from the cache or trained again.
        variants: models ``path.py:factory`` whose code you trust. The gallery leaves out other models that the table
            names as code of files.
        trust_code: trust all code that the table names.
        data_dir: local mirror in hub layout.
        progress: told what is measured again.

    Raises:
        StoreError: there is no such version, folder or file.
    """
    side = load_table(version, results)
    earlier = None if against is None else load_table(against, results)
    trusted = partial(trusted_requests, named=variants, trust_code=trust_code)
    sides = (side,) if earlier is None else (side, earlier)
    records = find_records(sides, [row.key for one in sides for row in one.rows if row.key], results)
    contents = ReportContents(
        name=side.name,
        rows=side.rows,
        version=side.version,
        provenance=_provenance(side),
        curves=strength_curves(side.rows, records),
        lengths=length_curves(side.rows, records),
        errors=corruption_errors(side.rows, records),
        comparison=None if earlier is None else compare_loaded(earlier, side, results),
        headline=make_headline(side.rows, records),
    )
    if not gallery:
        return contents
    remake = _Remake(trusted=trusted, sides=sides, data_dir=data_dir, progress=progress or SilentProgress())
    flipped = [] if earlier is None else _flips(contents, side, earlier, records=records, remake=remake)
    return replace(contents, gallery=[*flipped, *_gallery(side, records, remake)])


def _provenance(side: LoadedTable) -> dict[str, object]:
    if side.version is None:
        return {}
    info = ScoreTable(side.location).info(side.version)
    return {"committed": info.time.isoformat(timespec="seconds"), **info.provenance}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Remake:
    """How to load tasks and to perturb samples again, because perturbed inputs are not stored."""

    trusted: Callable[[list[RunRequest]], tuple[list[RunRequest], dict[str, str]]]
    sides: Sequence[LoadedTable]
    data_dir: str | None
    progress: Progress
    loaded: dict[str, Dataset | str] = field(default_factory=dict)

    def load(self, label: str) -> Dataset | str:
        """Dataset with a label, or a sentence on why it cannot be loaded."""
        if label not in self.loaded:
            name = label.removesuffix("-validation")
            try:
                dataset = self._with_options(name) or find_task(name).load(self.data_dir)
                self.loaded[label] = dataset if name == label else dataset.on_validation()
            except HarnessError as error:
                self.loaded[label] = f"the samples cannot be had: {error}"
        return self.loaded[label]

    def _with_options(self, label: str) -> Dataset | None:
        """Pictures with a label, among the tasks with options of the tables' own requests; None if there are none."""
        requests, _ = self.trusted([request for side in self.sides for request in find_run_requests(side)])
        for request in requests:
            chosen = request.classes or request.ids or request.split != "test"
            if chosen or any(name.startswith((FOLDER, MASKS)) or ";" in name for name in request.tasks or ()):
                for task in (plan.task for plan in make_plan(request).tasks if takes_options(plan.task)):
                    dataset = task.load(self.data_dir)
                    if dataset.label == label:
                        return dataset
        return None

    def perturb(self, side: LoadedTable, wanted: list[SampleSelection]) -> PerturbedSamples:
        """Samples of a table, perturbed again."""
        requests, withheld = self.trusted(
            [request.model_copy(update={"data_dir": self.data_dir}) for request in find_run_requests(side)]
        )
        return remake_samples(requests, wanted, self.progress, withheld=withheld)


def _gallery(side: LoadedTable, records: Mapping[str, Record], remake: _Remake) -> list[Gallery]:
    """Broken samples of a table."""
    chosen = gallery_cells(side.rows, records, remake.load)
    wanted = [one for choice in chosen if isinstance(choice, GalleryCell) for one in choice.wanted]
    perturbed = remake.perturb(side, wanted)
    return [choice if isinstance(choice, Gallery) else make_gallery(choice, perturbed) for choice in chosen]


def _flips(
    contents: ReportContents,
    side: LoadedTable,
    earlier: LoadedTable,
    *,
    records: Mapping[str, Record],
    remake: _Remake,
) -> list[Gallery]:
    """Samples that are robust in one of the two tables only."""
    comparison = contents.comparison
    if comparison is None:
        return []
    chosen = flip_cells(contents.panels, comparison, records=records, load=remake.load)
    cells = [one for one in chosen if isinstance(one, FlipCell)]
    lost, gained = (
        remake.perturb(table, [one for cell in cells for one in cell.wanted(lost=of_new)])
        for table, of_new in ((side, True), (earlier, False))
    )
    return [
        choice if isinstance(choice, Gallery) else make_flip_gallery(choice, comparison, lost=lost, gained=gained)
        for choice in chosen
    ]

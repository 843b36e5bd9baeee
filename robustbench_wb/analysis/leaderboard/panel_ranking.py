"""What a leaderboard says: a ranking per panel, a line per subject. Data only, no rendering."""

from pydantic import ConfigDict

from robustbench_wb.records.names import Metric
from robustbench_wb.spec import Spec
from robustbench_wb.stressors.protocol import ProtocolName


class RankedModel(Spec):
    """One subject of one panel."""

    model_config = ConfigDict(allow_inf_nan=False)

    variant: str
    size: str
    recipe: str
    seed: int
    rank: int
    """1 is the best; subjects of equal scores share the rank of the first."""
    rank_low: int | None = None
    """Ends of the rank's interval, which covers together with those of all others of the panel with 95 % confidence.
    None when the outcomes of the samples are not known; see ``reason``. So the next three."""
    rank_high: int | None = None
    group: str = ""
    """Letters: subjects that share one are not told apart."""
    score: float | None
    """Mean accuracy, 0 to 1, or geometric mean perplexity, over all cells of the panel. A cell that is lacking, failed
    or graded F counts as accuracy 0; with one, there is no mean perplexity, and the score is None."""
    low: float | None = None
    """Ends of the 95 % interval of ``score``."""
    high: float | None = None
    worst_cell: str = ""
    """Where the subject is at its worst, like ``pgd-linf@8/255``; empty where no cell has a value."""
    worst: float | None = None
    """Accuracy or perplexity there; of one that does not count, 0 or None."""
    clean: float | None = None
    """The same under the clean stressor; None without such a cell."""
    grade: str = ""
    """The worst of all cells; empty where none has one."""
    counted: int
    """Cells that count with their own value."""
    cells: int
    """Those of the panel."""
    n: tuple[int, ...]
    """Samples asked for, all different numbers."""
    parameters: int
    flops: int
    """Of one answer. 0 is not known; so the peak of memory."""
    train_seconds: float
    forwards: float
    """Passes per sample, mean over the cells that were measured; so the next one."""
    backwards: float
    peak_memory: int
    signature: str
    """What the score is of, to be cited with it."""
    reason: str = ""
    """Why there are no intervals."""


class PanelRanking(Spec):
    """One panel."""

    task: str
    scale: str
    suite: str
    suite_version: int
    metric: Metric
    protocol: ProtocolName
    tests: int
    """Pairs of subjects that were tested, and corrected for."""
    lines: tuple[RankedModel, ...]
    """The best first; equal scores by name."""

"""Result of a leaderboard: a ranking per panel, a line per model. Data only."""

from pydantic import ConfigDict

from robustbench_wb.analysis.headline.headline import HeadlinePanel, OptionalGrade
from robustbench_wb.records.names import Metric
from robustbench_wb.spec import Spec
from robustbench_wb.stressors.protocol import ProtocolName


class RankedModel(Spec):
    """Rank, headline, mean over all cells, and costs of one model in one panel."""

    model_config = ConfigDict(allow_inf_nan=False)

    variant: str
    size: str
    recipe: str
    seed: int
    rank: int
    """Rank by the headline, from 1; models of equal headlines share the best of their ranks."""
    rank_low: int | None = None
    """Low end of the rank interval. The intervals of all models of the panel cover simultaneously at 95 % confidence.
    None if the per-sample outcomes are unknown."""
    rank_high: int | None = None
    """High end of the rank interval; None like ``rank_low``."""
    group: str = ""
    """Letters of a compact letter display: models that share a letter do not differ significantly. Empty if the
    per-sample outcomes are unknown."""
    score: float | None
    """Mean accuracy in [0, 1], or geometric mean perplexity, over all cells of the panel. A missing, failed or F-graded
    cell counts as accuracy 0; a model that lacks a perplexity has no score."""
    low: float | None = None
    """Low end of the 95 % interval of ``score``."""
    high: float | None = None
    """High end of the 95 % interval of ``score``; None next to a low end is an open end."""
    worst_cell: str = ""
    """Cell with the lowest accuracy or highest perplexity, like ``pgd-linf@8/255``; empty if no cell has a value."""
    worst: float | None = None
    """Accuracy or perplexity in the worst cell; 0 or None if that cell does not count."""
    clean: float | None = None
    """Accuracy or perplexity on unperturbed inputs; None without such a cell."""
    grade: str = ""
    """Lowest credibility grade of all cells; empty if no cell has one."""
    counted: int
    """Number of cells that count with their own value."""
    cells: int
    """Number of cells of the panel."""
    n: tuple[int, ...]
    """Distinct numbers of requested samples."""
    parameters: int
    """Trainable scalars."""
    flops: int
    """Floating-point operations of one forward pass of one sample; 0 if unknown."""
    train_seconds: float
    forwards: float
    """Forward passes per sample, mean over the measured cells."""
    backwards: float
    """Input gradients per sample, mean over the measured cells."""
    peak_memory: int
    """Peak bytes of one forward pass and input gradient of one sample; 0 if unknown."""
    signature: str
    """Everything the score depends on, to be cited with it."""
    reason: str = ""
    """Reason for a missing interval of ``score``."""
    headline: float | None
    """Number by which the models are ranked, like the accuracy under all attacks at one radius, see
    ``robustbench_wb.analysis.headline.headline.HeadlineNumber``; the next three fields belong to it."""
    headline_low: float | None = None
    headline_high: float | None = None
    headline_grade: OptionalGrade = ""
    headline_column: str
    """Name of the number, like ``Linf 16/255``."""
    headline_numbers: str = ""
    """All headline numbers, like ``clean = 0.975; Linf 8/255 = 0.9333``."""


class PanelRanking(Spec):
    """Ranking of the models of one panel."""

    task: str
    scale: str
    suite: str
    suite_version: int
    metric: Metric
    protocol: ProtocolName
    tests: int
    """Number of tested pairs of models, which is the number that Holm's correction uses."""
    lines: tuple[RankedModel, ...]
    """Models, best first; equal headlines by name."""
    headline: HeadlinePanel
    """Headline numbers of these models, in the same order."""

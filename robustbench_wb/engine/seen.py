"""What a stressor made of single samples. No record keeps it: it is made again, by the door that measured it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from robustbench_wb.engine.record import Slot
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.rerun import Wanted, measure_again
from robustbench_wb.progress import Progress
from robustbench_wb.stressors.stressor import Job, Stressed, predict


@dataclass(frozen=True, eq=False)
class Seen:
    """One perturbed sample."""

    inputs: NDArray[Any]
    """The image, float32 (C, H, W) in [0, 1], or token ids (L,)."""
    text: str | None
    """The text that the ids stand for; None where no text was perturbed."""
    answer: int
    """The class that the subject answers."""


@dataclass(frozen=True)
class Sight:
    """What could be seen of some cells, by slot."""

    samples: Mapping[Slot, Mapping[int, Seen]]
    """By sample id."""
    refused: Mapping[Slot, str]
    """Why there is nothing."""


def see_again(requests: Iterable[RunRequest], wanted: Sequence[Wanted], progress: Progress) -> Sight:
    """Stress the wanted samples once more. Word vectors that are moved leave nothing to see.

    Args:
        requests: what the cells may have been made from.
        wanted: samples of cells of different slots; those of classification, that the stressor broke.
        progress: told what is measured.
    """
    samples: dict[Slot, dict[int, Seen]] = {one.slot: {} for one in wanted}

    def watch(slot: Slot, job: Job, stressed: Stressed) -> None:
        if stressed.vectors is not None:
            return
        answers = predict(job.model, stressed.inputs, job.batch, job.draws).argmax(1).tolist()
        texts: Sequence[str | None] = stressed.texts or [None] * len(answers)
        for sample, image, text, answer in zip(job.ids.tolist(), stressed.inputs, texts, answers, strict=True):
            samples[slot][sample] = Seen(image.cpu().numpy(), text, answer)

    outcomes = measure_again(requests, wanted, progress, watch)
    return Sight(samples, outcomes.refused)

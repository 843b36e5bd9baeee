"""What a stressor made of single samples, made again by the door that measured them."""

from collections.abc import Iterable, Sequence

from robustbench_wb.engine.again import Seen, Sight, Wanted
from robustbench_wb.engine.record import Slot
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.rerun import measure_again
from robustbench_wb.progress import Progress
from robustbench_wb.stressors.stressor import Job, Stressed, predict


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

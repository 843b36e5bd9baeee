"""What a stressor made of single samples, made again by the door that measured them."""

from collections.abc import Iterable, Sequence

from robustbench_wb.engine.remeasure import remeasure
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import Progress
from robustbench_wb.records.names import Slot
from robustbench_wb.records.perturbed_sample import PerturbedSample, PerturbedSamples, SampleSelection
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch, predict


def remake_samples(
    requests: Iterable[RunRequest], wanted: Sequence[SampleSelection], progress: Progress
) -> PerturbedSamples:
    """Stress the wanted samples once more. Word vectors that are moved leave nothing to see.

    Args:
        requests: what the cells may have been made from.
        wanted: samples of cells of different slots; those of classification, that the stressor broke.
        progress: told what is measured.
    """
    samples: dict[Slot, dict[int, PerturbedSample]] = {one.slot: {} for one in wanted}

    def watch(slot: Slot, job: SampleBatch, stressed: PerturbedBatch) -> None:
        if stressed.vectors is not None:
            return
        answers = predict(job.model, stressed.inputs, job.batch, job.draws).argmax(1).tolist()
        texts: Sequence[str | None] = stressed.texts or [None] * len(answers)
        for sample, image, text, answer in zip(job.ids.tolist(), stressed.inputs, texts, answers, strict=True):
            samples[slot][sample] = PerturbedSample(image.cpu().numpy(), text, answer)

    outcomes = remeasure(requests, wanted, progress, watch)
    return PerturbedSamples(samples, outcomes.refused)

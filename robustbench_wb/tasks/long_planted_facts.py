"""Planted facts in sequences as long as those of needle-in-a-haystack tests."""

from typing import Final

from robustbench_wb.tasks.planted_facts_task import PlantedFactsTask


class LongPlantedFactsTask(PlantedFactsTask):
    """Planted facts, trained up to 4,096 tokens; models must accept 16,384."""

    like: Final = "planted-1k"
    """Task whose recipe and lists of strengths apply."""


PLANTED_4K = LongPlantedFactsTask("planted-4k", length=4096, room=16_384, train=16_000)

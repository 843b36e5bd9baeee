"""Run with ladders of strengths: label noise, a backdoor, two corruptions, and a failed cell."""

from dataclasses import replace
from typing import Any

import numpy as np

from robustbench_wb.analysis.score import score_rows
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from tests.store.make import measured, record, row

FACTS: dict[str, Any] = {"suite": "mine", "classes": 10, "side": 8}


def cell(right: list[int], **names: Any) -> tuple[ScoreRow, Record]:
    """Row and its record; samples are correct where ``right`` is 1."""
    signature = f"{names.get('stressor')};{names.get('strength')}"
    made = record([0 if one else 1 for one in right], signature=signature, model_code=names.get("variant", "vit"))
    return row(made, **{**FACTS, **names}), made


def failed(**names: Any) -> ScoreRow:
    return row(None, 10, "SubjectError: too dirty", **{**FACTS, **names})


def obeying(made: tuple[ScoreRow, Record], hit: int, aimed: int, **names: Any) -> tuple[ScoreRow, Record]:
    """Cell with a trigger that succeeds on ``hit`` of ``aimed`` samples."""
    kept = replace(made[1], evidence={"hit": hit, "aimed": aimed})
    return score_rows([measured(kept, **{**FACTS, **names})])[0], kept


def counted(number: int, of: int = 10) -> list[int]:
    """Outcomes with the first ``number`` samples correct."""
    return [1] * number + [0] * (of - number)


def curve_run() -> tuple[list[ScoreRow], dict[str, Record]]:
    cells = []
    for variant, (clean, one, two) in {"vit": (9, 7, 3), "crate": (8, 7, 6)}.items():
        cells += [
            cell(counted(clean), stressor="clean", strength="", variant=variant),
            cell(counted(one), stressor="label-noise:pair", strength="1/5", variant=variant),
            cell(counted(two), stressor="label-noise:pair", strength="2/5", variant=variant),
        ]
        names = {"stressor": "backdoor", "strength": "1/20", "variant": variant}
        cells.append(obeying(cell(counted(one), **names), one, 9, **names))
        for severity in range(1, 6):
            for stressor, more in (("fog", 0), ("speckle-noise", 1)):
                right = counted(clean - severity + more)
                cells.append(cell(right, stressor=stressor, strength=str(severity), variant=variant))
    rows = [shown for shown, _ in cells]
    rows += [failed(stressor="duplicates", strength="1/2", variant="vit")]
    return rows, {made.key: made for _, made in cells}


def alexnet_run(**names: Any) -> list[ScoreRow]:
    """Rows with the published errors of AlexNet on ImageNet-C."""
    from robustbench_wb.analysis.curves.alexnet import CLEAN_ERROR, ERRORS

    facts = {"variant": "alexnet", "task": "imagenet", "classes": 1000, "side": 224, **names}
    base = row(record(np.zeros(4, int).tolist()), **facts)
    clean = {"stressor": "clean", "strength": "", "signature": "clean"}
    cells = [(clean, CLEAN_ERROR)] + [
        ({"stressor": name, "strength": str(severity), "signature": f"{name};severity={severity};mode=fixed"}, error)
        for name, errors in ERRORS.items()
        for severity, error in enumerate(errors, 1)
    ]
    return [base.model_copy(update={**cell, "accuracy": 1 - error}) for cell, error in cells]

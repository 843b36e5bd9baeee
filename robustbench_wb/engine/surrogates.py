"""The subjects of a task that adversarial images are made on, to be judged on others."""

from collections.abc import Callable, Sequence

from torch import nn

from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.subject import Subject
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.spec import digest
from robustbench_wb.stressors.stressor import Stressor


class Surrogates:
    """Each is had once per task, when it is first needed; one that cannot be had is not tried again."""

    def __init__(self, plans: Sequence[SubjectPlan], obtain: Callable[[SubjectPlan], Subject]) -> None:
        self._plans = {plan.name: plan for plan in plans}
        self._obtain = obtain
        self._had: dict[str, Subject | str] = {}

    def subject(self, plan: SubjectPlan) -> Subject:
        """What a plan stands for; one that is a surrogate as well is not had twice.

        Raises:
            MeasurementError: it cannot be had.
        """
        return self._get(plan.name) if self._plans.get(plan.name) == plan else self._obtain(plan)

    def of(self, stressor: Stressor) -> Subject | None:
        """The one that a stressor makes its images on; None for one that needs none.

        Raises:
            MeasurementError: it cannot be had.
        """
        return None if stressor.surrogate is None else self._get(stressor.surrogate)

    def model(self, stressor: Stressor) -> nn.Module | None:
        """The same, put together.

        Raises:
            MeasurementError: it cannot be had.
        """
        found = self.of(stressor)
        return None if found is None else found.model

    def code(self, stressor: Stressor) -> str:
        """Digest of all that perturbs: the stressor's source, and the weights and the code of its surrogate.

        Raises:
            MeasurementError: the surrogate cannot be had.
        """
        found, code = self.of(stressor), stressor.code()
        return code if found is None else digest([code, found.card.weights, found.model_code])

    def lacking(self, ladder: Ladder) -> str:
        """Why a ladder cannot be measured on any subject; empty if it can."""
        try:
            self.of(ladder.rungs[0])
        except MeasurementError as error:
            return f"no surrogate: {error}"
        return ""

    def _get(self, name: str) -> Subject:
        if name not in self._had:
            try:
                with as_measurement_error(name):
                    self._had[name] = self._obtain(self._plans[name])
            except MeasurementError as error:
                self._had[name] = str(error)
        found = self._had[name]
        if isinstance(found, str):
            raise MeasurementError(found)
        return found

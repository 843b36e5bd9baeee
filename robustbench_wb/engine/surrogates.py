"""Models of a task on which transfer attacks run: their adversarial examples are evaluated on other models."""

from collections.abc import Callable, Sequence

from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.subject import Subject
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.spec import digest
from robustbench_wb.stressors.stressor import Stressor


class Surrogates:
    """The surrogates of a task, each obtained once, when it is first needed. One that fails is not tried again."""

    def __init__(self, plans: Sequence[SubjectPlan], obtain: Callable[[SubjectPlan], Subject]) -> None:
        self._plans = {plan.name: plan for plan in plans}
        self._obtain = obtain
        self._known: dict[str, Subject | str] = {}

    def subject(self, plan: SubjectPlan) -> Subject:
        """Obtain a model that is evaluated. One that is a surrogate as well is obtained once.

        Raises:
            MeasurementError: it cannot be built or trained.
        """
        return self._get(plan.name) if self._plans.get(plan.name) == plan else self._obtain(plan)

    def of(self, stressor: Stressor) -> Subject | None:
        """The surrogate that a stressor attacks; None for a stressor without one.

        Raises:
            MeasurementError: it cannot be built or trained.
        """
        return None if stressor.surrogate is None else self._get(stressor.surrogate)

    def code(self, stressor: Stressor) -> str:
        """Digest of the stressor's source, and of the weights and the code of its surrogate.

        Raises:
            MeasurementError: the surrogate cannot be built or trained.
        """
        found, code = self.of(stressor), stressor.code()
        return code if found is None else digest([code, found.card.weights, found.model_code])

    def lacking(self, ladder: Ladder) -> str:
        """Reason why a ladder has no surrogate; empty if it has one, or needs none."""
        try:
            self.of(ladder.rungs[0])
        except MeasurementError as error:
            return f"no surrogate: {error}"
        return ""

    def _get(self, name: str) -> Subject:
        if name not in self._known:
            try:
                with as_measurement_error(name):
                    self._known[name] = self._obtain(self._plans[name])
            except MeasurementError as error:
                self._known[name] = str(error)
        found = self._known[name]
        if isinstance(found, str):
            raise MeasurementError(found)
        return found

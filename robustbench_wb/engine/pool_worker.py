"""A worker as its pool sees it: what it measures, how long it may take, and why nothing comes from it any more."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final, NamedTuple

from robustbench_wb.engine.shard import Shard
from robustbench_wb.engine.shard_worker import ShardResult, Sign, StoreFailure, WorkerSetup

_log = logging.getLogger(__name__)
GRACE_SECONDS: Final = 5.0
"""Time after the limit of a shard in which a worker can stop by itself."""
START_SECONDS: Final = 60.0
"""Time beyond the limit for the start of a worker, its imports and its data, and for a training step."""


class Only(NamedTuple):
    """The one model that a worker measures. Its request names no other, so that it counts tasks and models from 0."""

    task: int
    """Index of the task."""
    base: int
    """Index of the model that is the first one there."""
    subject: int
    """Index of the model."""


class PoolWorker(ABC):
    """One worker as its pool sees it, and the shard that it is measuring.

    Args:
        setup: what it is started with.
        names: name of the model of a shard.
        only: what it measures; None: everything.
    """

    def __init__(self, setup: WorkerSetup, *, names: Callable[[Shard], str], only: Only | None) -> None:
        self._timeout, self._names, self._only = setup.request.timeout, names, only
        self.shard: Shard | None = None
        """The shard that the worker is measuring."""
        self.last: Shard | None = None
        """The shard that the worker was given last."""
        self.since = 0.0
        """When it was given, on the monotonic clock, in seconds."""
        self.shown = ExitStack()
        """The line that shows what the worker measures; closing it removes the line."""
        self.has_ended = False
        """Whether the worker is dead, was ended, or cannot use its device any more."""
        self.was_heard = False
        """Whether the worker has ever sent anything."""
        self.number = setup.number
        """Number of the worker, which no other one of the pool has."""
        self._preparations, self._rungs, self._trains = 1, 0, False
        self._has_model = False
        self._what, self._limit, self._until = "took", 0.0, float("inf")

    def measures(self, shard: Shard) -> bool:
        """Whether the worker knows the model of a shard."""
        return self._only is None or shard.model == (self._only.task, self._only.subject)

    def give(self, shard: Shard, rungs: int) -> None:
        """Let the worker measure a shard of so many cells."""
        self._has_model = self.last is not None and self.last.model == shard.model
        self.shard, self.last, self.since = shard, shard, time.monotonic()
        self._preparations, self._rungs = self._preparations + 1, rungs
        self.send(self._inside(shard))
        self.begin_limit()

    def receive(self) -> Sign | ShardResult | StoreFailure | str:
        """What the worker has sent, or why nothing will come any more."""
        if self.is_late and not self.has_sent():
            self.has_ended = True
            words = f"{self._what} longer than {self._limit:g} seconds (timeout), and its process was ended"
            return f"{self._model}: {words}"
        message = self.take()
        if message is None:
            self.has_ended = True
            return f"{self._model}: {self.death()}"
        self.was_heard = True
        if isinstance(message, Sign):
            self._trains = message.trains
            self._preparations -= message.ready
            if message.ready or message.trains:
                self.begin_limit(trains=message.trains)
            return message
        if isinstance(message, ShardResult):
            self._until, self.has_ended = float("inf"), message.lost_device
            if message.lost_device:
                _log.warning("a worker cannot use its device any more: another one is started")
            parts = [replace(part, shard=self._outside(part.shard)) for part in message.parts]
            return replace(message, parts=parts, left=[self._outside(shard) for shard in message.left])
        self.has_ended = True
        return message

    @property
    def is_training(self) -> bool:
        """Whether the worker trains a model, by the last thing that it has sent."""
        return self._trains and not self.has_sent()

    @property
    def is_preparing(self) -> bool:
        """Whether the worker starts, or loads or trains the model of its shard: it has nothing to be stored so far."""
        return self.is_training or (self._preparations > 0 and not self._has_model and not self.has_sent())

    @property
    def is_late(self) -> bool:
        """Whether the worker takes longer than it may."""
        return time.monotonic() > self._until

    @abstractmethod
    def send(self, shard: Shard) -> None:
        """Send a shard, as the worker counts tasks and models. That the worker is dead is seen when it is heard."""

    @abstractmethod
    def has_sent(self) -> bool:
        """Whether a message waits to be taken."""

    @abstractmethod
    def take(self) -> Sign | ShardResult | StoreFailure | str | None:
        """The next message, which has come; text if the worker cannot prepare; None if the worker is dead."""

    @abstractmethod
    def death(self) -> str:
        """How the worker died, as the end of a sentence."""

    @abstractmethod
    def end(self) -> None:
        """End the worker."""

    @property
    def _model(self) -> str:
        return "a worker" if self.last is None else self._names(self.last)

    def begin_limit(self, *, trains: bool = False) -> None:
        """Begin the time that the worker has for its next message, if there is a limit."""
        if self._timeout is None:
            return
        preparing = self._preparations > 0 or trains
        self._limit = self._timeout + START_SECONDS if preparing else self._timeout * self._rungs
        self._what = "a training step, or what followed it, took" if trains else "took"
        self._until = time.monotonic() + self._limit + GRACE_SECONDS

    def _inside(self, shard: Shard) -> Shard:
        """A shard as the worker counts tasks and models."""
        if self._only is None:
            return shard
        return replace(shard, task=0, subject=shard.subject - self._only.base)

    def _outside(self, shard: Shard) -> Shard:
        """A shard as the run counts tasks and models."""
        if self._only is None:
            return shard
        return replace(shard, task=self._only.task, subject=shard.subject + self._only.base)

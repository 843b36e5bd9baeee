"""What a worker process runs. This module imports nothing heavy, so that all that is heavy is imported at once."""

import os
import pickle
from multiprocessing.connection import Connection

from robustbench_wb.errors import HarnessError, StoreError
from robustbench_wb.imports import ImportedObjects, without_collection


def work(setup: bytes, connection: Connection) -> None:
    """Measure shards in a new process, as they are asked for, until the parent ends it.

    Args:
        setup: a pickled ``WorkerSetup``.
        connection: the pipe to the parent: shards come in; signs of life, results and errors go out.
    """
    ImportedObjects.are_kept = True
    with without_collection():
        from robustbench_wb.engine.child_process import become_child
        from robustbench_wb.engine.shard_worker import ShardWorker, Sign, StoreFailure, WorkerSetup

        given: WorkerSetup = pickle.loads(setup)
    become_child(given.threads)
    os.dup2(2, 1)  # results are printed by the parent
    try:
        worker = ShardWorker(given, connection.send)
        connection.send(Sign(ready=True))
        while True:
            connection.send(worker.measure(connection.recv()))
    except StoreError as error:
        connection.send(StoreFailure(str(error)))
    except HarnessError as error:
        connection.send(str(error))

"""Reading a Delta table through Delta's own query engine.

Not through a pyarrow dataset: with its threads calling back into the object store, about every third process that had
read a table aborted at exit ("terminate called without an active exception", deltalake 1.6 with pyarrow 26), after its
work was done but with exit code 134.
"""

from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder


def read(table: DeltaTable, column: str = "", values: Sequence[str] = (), columns: Sequence[str] = ("*",)) -> pa.Table:
    """All rows of a table, or those whose ``column`` is among ``values``; statistics skip the files of others.

    Of ``columns`` that are named, no other is read.

    Raises:
        OSError: a file of the table is missing or damaged.
    """
    query = f"SELECT {', '.join(columns)} FROM wanted"
    if column:
        quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
        query += f" WHERE {column} IN ({quoted})"
    try:
        return pa.table(QueryBuilder().register("wanted", table).execute(query).read_all())
    except Exception as error:
        if type(error) is Exception:  # the engine has no class of its own for what it finds on disk
            raise OSError(str(error)) from error
        raise

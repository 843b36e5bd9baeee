"""Reading of Delta tables through the query engine of Delta.

A pyarrow dataset is not used: its threads call back into the object store, and about every third process that had read
a table aborted at exit with code 134 ("terminate called without an active exception", deltalake 1.6, pyarrow 26).
"""

from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder


def read_delta_table(
    table: DeltaTable, column: str = "", values: Sequence[str] = (), columns: Sequence[str] = ("*",)
) -> pa.Table:
    """Read all rows of a table, or those whose ``column`` is among ``values``.

    Only ``columns`` are read. Column statistics let the engine skip files without matching rows.

    Raises:
        OSError: a file of the table is missing or damaged.
    """
    engine = QueryBuilder().register("wanted", table)
    query = f"SELECT {', '.join(columns)} FROM wanted"
    if column:
        quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
        query += f" WHERE {column} IN ({quoted})"
        # Other columns are read where the column matches, not for all rows of a file.
        engine.execute("SET datafusion.execution.parquet.pushdown_filters = true").read_all()
    try:
        return pa.table(engine.execute(query).read_all())
    except Exception as error:
        if type(error) is Exception:  # the engine raises plain exceptions for damaged files
            raise OSError(str(error)) from error
        raise

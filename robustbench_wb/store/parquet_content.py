"""Reading of Parquet files on the calling thread alone.

Threads of pyarrow that still wind down when a process ends can abort it with code 134 ("terminate called without an
active exception", pyarrow 26): on a busy machine about one process in 150 that had read a file with threads.
"""

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_table(content: bytes) -> pa.Table:
    """All rows of a Parquet file, with the metadata of its schema.

    Args:
        content: the bytes of the file.

    Raises:
        OSError: the file is damaged.
        pyarrow.ArrowException: the file is damaged, or no Parquet file.
        ValueError: a value of the file is damaged.
    """
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        return file.read(use_threads=False)

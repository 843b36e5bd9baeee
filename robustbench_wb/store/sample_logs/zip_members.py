"""Members of zip files, also those compressed with Zstandard, which Python's ``zipfile`` reads from 3.14 on."""

import struct
import zipfile
import zlib
from typing import Final

import pyarrow as pa

_ZSTANDARD: Final = 93
"""Method number of Zstandard in zip files (APPNOTE 6.3.8)."""
_LOCAL_HEADER: Final = struct.Struct("<26xHH")
"""Local file header: lengths of the name and of the extra field come last, after 26 bytes (APPNOTE 4.3.7)."""


def read_member(archive: zipfile.ZipFile, content: bytes, name: str) -> bytes:
    """Decompressed bytes of a member.

    Args:
        archive: the opened zip file.
        content: all bytes of the zip file.
        name: name of the member.

    Raises:
        KeyError: there is no such member.
        ValueError: the member is damaged.
    """
    info = archive.getinfo(name)
    try:
        if info.compress_type != _ZSTANDARD:
            return archive.read(name)
        lengths = _LOCAL_HEADER.unpack_from(content, info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + sum(lengths)
        packed = pa.BufferReader(content[start : start + info.compress_size])
        with pa.input_stream(packed, compression="zstd") as stream:
            data: bytes = stream.read()
    except (OSError, struct.error, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise ValueError(f"{name} cannot be decompressed") from error
    if zlib.crc32(data) != info.CRC:
        raise ValueError(f"{name} is damaged")
    return data

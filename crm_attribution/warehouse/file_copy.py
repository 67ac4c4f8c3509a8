"""Copy a file to disk and print its SHA-256. Run as a separate program, never imported by the writer.

DuckDB guards a database with a POSIX record lock, and such a lock is lost as soon as its process closes any
descriptor of that file. A writer that opened its own database file to copy it would let a second writer in; a child
process may open and close it freely.
"""

import hashlib
import os
import sys

_CHUNK = 4 << 20


def copy(source: str, target: str) -> str:
    """Copy, fsync, and return the hex digest of what was copied."""
    digest = hashlib.sha256()
    with open(source, "rb") as reading, open(target, "xb") as writing:
        while chunk := reading.read(_CHUNK):
            digest.update(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return digest.hexdigest()


if __name__ == "__main__":
    try:
        sys.stdout.write(copy(sys.argv[1], sys.argv[2]))
    except OSError as error:
        sys.exit(f"{error.strerror}: {error.filename or sys.argv[2]}")

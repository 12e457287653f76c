"""Files that are written: replaced as a whole if they are regular files, and only their owner can read a new one."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO

_OWNER_ONLY = 0o600


class WholeFile:
    """Writes a file. A regular file is replaced when the new one is complete, and keeps its mode.

    A symbolic link stays, and the file that it leads to is replaced. A pipe or a device is written directly.

    Args:
        path: The path.

    Raises:
        OSError: The file cannot be written. The error has the path.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from langchain_agentmem.text.files import WholeFile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "list.txt")
        ...     written = WholeFile(path)
        ...     _ = written.file.write(b"milk")
        ...     written.finish()
        ...     path.read_text()
        'milk'
    """

    def __init__(self, path: Path) -> None:
        self._mode: int | None = None
        self._temporary: Path | None = None
        try:
            found = path.stat()
        except FileNotFoundError:
            found = None
        if found is not None and not stat.S_ISREG(found.st_mode):
            # Without O_CREAT: Linux refuses it for a pipe of somebody else in a shared folder.
            self.file: BinaryIO = os.fdopen(os.open(path, os.O_WRONLY | os.O_CLOEXEC), "wb")
            return
        self._target = Path(os.path.realpath(path))
        self._mode = None if found is None else stat.S_IMODE(found.st_mode)
        try:
            # Concurrent writers of one path have files of their own, which only their owner can read.
            handle, name = tempfile.mkstemp(prefix=".agentmem-", suffix=".tmp", dir=self._target.parent)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        self._temporary = Path(name)
        self.file = os.fdopen(handle, "wb")

    def finish(self) -> None:
        """Make the file durable, and put it in its place."""
        sync(self.file)
        self.file.close()
        if self._temporary is not None:
            if self._mode is not None:
                self._temporary.chmod(self._mode)
            self._temporary.replace(self._target)
            self._temporary = None

    def close(self) -> None:
        """Remove a file that is not complete."""
        try:
            self.file.close()
        finally:
            if self._temporary is not None:
                with suppress(FileNotFoundError):
                    self._temporary.unlink()
                self._temporary = None


def sync(file: IO[Any]) -> None:
    """Write the buffer of an open file, and sync the file to the disk if it is a regular one.

    Args:
        file: The file, which has a descriptor.
    """
    file.flush()
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        os.fsync(file.fileno())


def open_to_append(path: Path) -> TextIO:
    """Open a text file to append to it. Only its owner can read a new one.

    Args:
        path: The path.

    Raises:
        OSError: The file cannot be written.
    """
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
    return os.fdopen(handle, "a", encoding="utf-8", newline="\n")

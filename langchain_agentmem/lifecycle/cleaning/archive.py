"""The archive of a cleanup: a file of JSON Lines that only grows."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from langchain_agentmem.arguments.cleaning import Target
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.transfer.files import Seal
from langchain_agentmem.lifecycle.transfer.lines import ARCHIVE, FORMAT, VERSION, Line
from langchain_agentmem.programs import Compute, Program
from langchain_agentmem.text.files import open_to_append, sync

_FIRST_LINE_BYTES = 10_000
_TAIL_BYTES = 65_536


class Archive:
    """Writes lines to a path or an open text file. Use `Archive.open`.

    Args:
        file: The file.
        name: Its path or name.
        owned: If true, this object opened the file, and lines are synced to the disk.
    """

    def __init__(self, file: TextIO, name: str, *, owned: bool) -> None:
        self._file = file
        self.name = name
        self._owned = owned
        self._seal = Seal()

    @classmethod
    def open(cls, target: Target) -> Archive:
        """Open an archive. An existing one is continued; an incomplete last line, of a killed process, is removed.

        Raises:
            InvalidInputError: The path is an existing file of another format.
            InvalidTypeError: The target is neither a path nor a text file.
            OSError: The file cannot be written.
        """
        if isinstance(target, (str, os.PathLike)):
            path = Path(target)
            if path.is_file() and path.stat().st_size:
                _check_first_line(path)
                _remove_incomplete_line(path)
            return cls(open_to_append(path), str(path), owned=True)
        if not hasattr(target, "write") or isinstance(target, (io.RawIOBase, io.BufferedIOBase)):
            msg = f"archive must be a path or a text file that is open for writing, got {shown(target)}."
            raise InvalidTypeError(msg)
        return cls(target, str(getattr(target, "name", "")) or "file", owned=False)

    def write(self, lines: Iterable[Line]) -> Program[None]:
        """Write lines, which may be a generator. `commit` makes them durable."""
        yield from Compute(True, self._write, lines)

    def commit(self) -> Program[None]:
        """Make all lines durable: flush them, and sync a file that this object opened."""
        yield from Compute(True, self._commit)

    def close(self) -> None:
        """Close the file if this object opened it."""
        if self._owned:
            self._file.close()

    def _write(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._file.write(self._seal.text(line).decode())

    def _commit(self) -> None:
        if self._owned:
            sync(self._file)
        else:
            self._file.flush()


def _check_first_line(path: Path) -> None:
    """Check that a file is an archive of a known version.

    Raises:
        InvalidInputError: It is not.
    """
    with path.open("rb") as file:
        first = file.readline(_FIRST_LINE_BYTES)
    if not first.endswith(b"\n"):
        return  # the process was killed while it wrote the first line
    try:
        header: Any = json.loads(first)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        msg = (
            f"archive {str(path)!r} exists and is no archive of langchain-agentmem. Choose another path. Nothing was "
            f"deleted."
        )
        raise InvalidInputError(msg)
    if header.get("version") != VERSION or header.get("content") != ARCHIVE:
        msg = (
            f"archive {str(path)!r} is an {shown(header.get('content'))} of version {shown(header.get('version'))}, but this "
            f"release writes an archive of version {VERSION}. Choose another path. Nothing was deleted."
        )
        raise InvalidInputError(msg)


def _remove_incomplete_line(path: Path) -> None:
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        at = end
        while at:
            start = max(0, at - _TAIL_BYTES)
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            if newline >= 0:
                at = start + newline + 1
                break
            at = start
        if at < end:
            file.truncate(at)

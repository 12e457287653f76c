"""Files of lines: every line ends with a checksum, which also depends on the lines before it.

The checksum of a line is the BLAKE2b digest (8 bytes) of the checksum of the line before and of the line up to its own
checksum. A header begins again. So a changed, missing, repeated or moved line is noticed, with its number. An export ends
with a line of the kind `end`, so a truncated one is noticed too. An archive, to which cleanups append, has no end.
"""

from __future__ import annotations

import codecs
import io
import json
import os
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.transfer.lines import ARCHIVE, EXPORT, FORMAT, VERSION, Line, header_line
from langchain_agentmem.text.files import WholeFile

FIRST_LINE_BYTES = 10_000
"""A first line that is longer is no header."""

_MOST_CHARACTERS = 4_000
"""The maximum length of a path. Operating systems accept no longer ones."""

_HINTS = {
    b"\x1f\x8b": "It is compressed with gzip: decompress it with gunzip.",
    b"SQLite format 3\0": "It is a SQLite database: copy a memory with copy_to or agentmem copy; for others, pass format=.",
}
"""Advice for files that users take for an export, by their first bytes."""

_MARK = b',"sum":"'
_END = b'"}'
_DIGITS = 16


class Seal:
    """Adds checksums to lines, or checks them."""

    def __init__(self) -> None:
        self._before = b""

    def text(self, line: Line) -> bytes:
        """Return a line as JSON with its checksum, and a line feed."""
        body = _encoded(line)[:-1]
        return body + _MARK + self._sum(body, line["kind"] == "header") + _END + b"\n"

    def line(self, text: bytes) -> Line:
        """Return the line in a text of `text`.

        Raises:
            ValueError: It was changed, or is not the line after the one before.
        """
        body, mark = text[: -len(_MARK) - _DIGITS - len(_END) - 1], text[-len(_MARK) - _DIGITS - len(_END) - 1 :]
        is_header = body.startswith(b'{"kind":"header",')
        if mark != _MARK + self._sum(body, is_header) + _END + b"\n":
            msg = "its checksum is wrong"
            raise ValueError(msg)
        line: Line = json.loads(text)
        return line

    def _sum(self, body: bytes, is_header: bool) -> bytes:
        before = b"" if is_header else self._before
        self._before = blake2b(before + body, digest_size=_DIGITS // 2).hexdigest().encode()
        return self._before


class NumberedLine(NamedTuple):
    """A line with its number in the file, from 1."""

    number: int
    line: Line
    size: int = 0
    """The number of bytes of the line; 0 if it was not read from a file."""


class LineWriter:
    """Writes an export to a path or an open file. Use `LineWriter.open`.

    Args:
        file: The file, which takes texts or bytes.
        name: Its path or name.
        whole: The file that is put in its place when it is complete; None for a file of the caller.
    """

    def __init__(self, file: Any, name: str, whole: WholeFile | None) -> None:
        self._file = file
        self._whole = whole
        self._is_text = isinstance(file, io.TextIOBase)
        self._seal = Seal()
        self._lines = 0
        self.name = name

    @classmethod
    def open(cls, target: Any) -> LineWriter:
        """Open a path, or take an open file.

        Raises:
            InvalidTypeError: The target is neither a path nor a file that is open for writing.
            InvalidInputError: The path cannot be one, or the file has another encoding than UTF-8.
            OSError: The file cannot be written.
        """
        if isinstance(target, (str, os.PathLike)):
            path = _checked_path("path_or_file", target)
            if path.is_dir():
                msg = f"path_or_file is a directory: {shown(str(path))}. Pass the path of a file in it."
                raise InvalidInputError(msg)
            whole = WholeFile(path)
            return cls(whole.file, str(path), whole)
        if not _is_open(target, "write", "writable"):
            msg = f"path_or_file must be a path or a file that is open for writing, got {shown(target)}."
            raise InvalidTypeError(msg)
        encoding = getattr(target, "encoding", None)
        if isinstance(encoding, str) and codecs.lookup(encoding).name != "utf-8":
            msg = f'path_or_file is a text file in {encoding}. Open it with encoding="utf-8" or in binary mode.'
            raise InvalidInputError(msg)
        return cls(target, str(getattr(target, "name", "")) or "file", None)

    def write(self, lines: Iterable[Line]) -> None:
        """Write lines, the first ones after a header."""
        header = [] if self._lines else [header_line(EXPORT)]
        texts = [self._seal.text(line) for line in chain(header, lines)]
        self._lines += len(texts)
        data = b"".join(texts)
        self._file.write(data.decode() if self._is_text else data)

    def finish(self, counts: dict[str, int]) -> None:
        """Write the end, and make the file durable."""
        self.write([{"kind": "end", "lines": self._lines, "counts": counts}])
        if self._whole is None:
            self._file.flush()
        else:
            self._whole.finish()

    def close(self) -> None:
        """Remove a file that is not complete."""
        if self._whole is not None:
            self._whole.close()


class LineReader:
    """Reads the lines of a file, and checks them.

    Args:
        source: A path, or a text or binary file that is open for reading.
    """

    def __init__(self, source: Any) -> None:
        self._owned = isinstance(source, (str, os.PathLike))
        if not self._owned and not _is_open(source, "readline", "readable"):
            msg = (
                f"source must be a path or a file that is open for reading, got {shown(source)}. For data of another "
                f"package, name its format."
            )
            raise InvalidTypeError(msg)
        self._file: IO[Any] = _checked_path("source", source).open("rb") if self._owned else source
        self.name = str(source) if self._owned else str(getattr(source, "name", "")) or "file"
        self.is_seekable = bool(getattr(self._file, "seekable", bool)())  # the path of a pipe is not
        self._start = self._file.tell() if self.is_seekable else 0
        self.content = EXPORT
        self._beginning = b""

    def close(self) -> None:
        """Close the file if this object opened it."""
        if self._owned:
            self._file.close()

    def rewind(self) -> None:
        """Go back to the first line."""
        self._file.seek(self._start)

    def lines(self) -> Iterator[NumberedLine]:
        """Yield the lines, without headers and the end.

        Raises:
            InvalidInputError: The file is not an export or an archive, or was written by a newer version.
            DamagedDataError: The file was damaged or truncated.
        """
        header = self._first()
        seal, number, is_over = Seal(), 1, False
        text = b""
        if header is None:
            msg = (
                f"{self.name!r} cannot be imported: line 1 is not the header of an export of langchain-agentmem. "
                f"{self._hint()} Nothing was written."
            )
            raise InvalidInputError(msg)
        text = header
        while text:
            line = self._checked(seal, text, number)
            kind = line.get("kind")
            if is_over:
                raise self._damaged(number, "it follows the end")
            if kind == "header":
                self._check_header(line, number)
            elif kind == "end":
                is_over = self.content != ARCHIVE
                if line.get("lines") != number - 1:
                    raise self._damaged(number, "the number of lines differs")
            else:
                yield NumberedLine(number, line, len(text))
            text = self._next()
            number += 1
        if not is_over and self.content != ARCHIVE:
            msg = (
                f"{self.name!r} is truncated: line {number} is missing, because the file has no end. Export again, or copy "
                f"the whole file."
            )
            raise DamagedDataError(msg)

    def _first(self) -> bytes | None:
        """Return the first line; None if it is not our header."""
        try:
            text = self._next(FIRST_LINE_BYTES)
            self._beginning = text[:16]
            header = json.loads(text)
        except (ValueError, RecursionError):
            return None
        is_own = isinstance(header, dict) and header.get("format") == FORMAT and header.get("kind") == "header"
        return text if is_own else None

    def _hint(self) -> str:
        """Return what to do with a file that is no export, by its first bytes."""
        if not self._beginning:
            return "It is empty."
        for beginning, hint in _HINTS.items():
            if self._beginning.startswith(beginning):
                return hint
        return "For the data of another package, pass format=."

    def _next(self, most: int = -1) -> bytes:
        text = self._file.readline(most)
        return text.encode() if isinstance(text, str) else bytes(text)

    def _checked(self, seal: Seal, text: bytes, number: int) -> Line:
        try:
            line = seal.line(text)
        except (ValueError, RecursionError) as error:
            reason = "it is incomplete" if not text.endswith(b"\n") else str(error)
            if text.endswith(b"\r\n"):
                reason = "it ends with CR LF instead of LF, which dos2unix mends"
            raise self._damaged(number, reason) from error
        return line

    def _check_header(self, line: Line, number: int) -> None:
        if line.get("version") != VERSION:
            msg = (
                f"{self.name!r} has version {shown(line.get('version'))}, but this release reads version {VERSION}. Upgrade "
                f"langchain-agentmem. Nothing was written."
            )
            raise InvalidInputError(msg)
        if line.get("content") not in (EXPORT, ARCHIVE):
            raise self._damaged(number, "its content is unknown")
        if number > 1 and self.content == EXPORT:
            raise self._damaged(number, "a second header")
        self.content = line["content"]

    def _damaged(self, number: int, reason: str) -> DamagedDataError:
        msg = f"Line {number} of {self.name!r} was damaged: {reason}. Export again, or use another copy of the file."
        return DamagedDataError(msg)


def _encoded(line: Line) -> bytes:
    try:
        return json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(line, allow_nan=False, separators=(",", ":")).encode()


def _is_open(file: Any, method: str, check: str) -> bool:
    """Return true if an object is a file that is open and has a method. `check` is the method that says if it can be used."""
    return hasattr(file, method) and not getattr(file, "closed", False) and bool(getattr(file, check, lambda: True)())


def _checked_path(what: str, path: Any) -> Path:
    text = os.fspath(path)
    if not text:
        msg = f"{what} is an empty path. Pass the path of a file."
        raise InvalidInputError(msg)
    if len(text) > _MOST_CHARACTERS:
        msg = f"{what} is a path of more than {_MOST_CHARACTERS:,} characters: {shown(path)}."
        raise InvalidInputError(msg)
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        msg = f"{what} has a character that no path has: {shown(path)}. Check the path."
        raise InvalidInputError(msg)
    return Path(path)

"""Files with a session: replaced as a whole, and refused if they are damaged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, StorageError
from langchain_agentmem.text.files import WholeFile

_CHECKSUM = "checksum"


def checked_path(path: Any) -> Path:
    """Return a path.

    Raises:
        InvalidTypeError: The value is neither a string nor a path.
    """
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        msg = f"path must be the path of a file, got {type(path).__name__}: {shown(path)}."
        raise InvalidTypeError(msg)
    return Path(path)


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object with its checksum. An existing file is replaced when the new one is complete.

    Args:
        path: The file; see `WholeFile` for links and pipes.
        document: The object.

    Raises:
        StorageError: The file cannot be written. An existing file is unchanged.
    """
    try:
        # The checksum is not the last line, so that the rest is JSON after somebody removed it.
        _write(path, {_CHECKSUM: _checksum(document), **document})
    except (OSError, ValueError) as error:
        msg = f"File {shown(str(path))} cannot be written. An existing file is unchanged. Cause: {_cause_of(error)}."
        raise StorageError(msg) from error


def read_document(path: Path) -> Any:
    """Return the JSON object of a file that `write_document` wrote. A file without a checksum is accepted.

    Raises:
        InvalidInputError: The file cannot be read, is no JSON object, or changed since it was written.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        msg = f"File {shown(str(path))} cannot be read. Cause: {_cause_of(error)}."
        raise InvalidInputError(msg) from error
    try:
        document: Any = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        msg = f"File {shown(str(path))} is damaged: it is not JSON. Cause: {reason_of(error)}."
        raise InvalidInputError(msg) from error
    if not isinstance(document, dict):
        msg = f"File {shown(str(path))} holds no session: it is a {type(document).__name__}, not an object."
        raise InvalidInputError(msg)
    checksum = document.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(document):
        msg = (
            f"File {shown(str(path))} is damaged: its checksum is wrong. If you edited the file, remove the line "
            f"{_CHECKSUM!r} and load it again."
        )
        raise InvalidInputError(msg)
    return document


def _write(path: Path, content: Mapping[str, Any]) -> None:
    data = f"{json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)}\n".encode()
    whole = WholeFile(path)
    try:
        whole.file.write(data)
        whole.finish()
    finally:
        whole.close()


def _cause_of(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or reason_of(error)


def _checksum(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"

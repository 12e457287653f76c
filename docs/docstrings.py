"""An extension of griffe: the docstrings of this package name their examples `Example:`, and griffe knows `Examples:`."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class ExampleSections(griffe.Extension):
    """Reads the sections `Example:` of docstrings as code."""

    def on_instance(self, *, obj: griffe.Object, **options: Any) -> None:  # noqa: ARG002, the signature is griffe's
        """Rename the section in the docstring of an object that was loaded."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub("Examples:", obj.docstring.value)

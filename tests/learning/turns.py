"""The turns of the scripted conversation, in order."""

from __future__ import annotations

from learning.entities import AGENT, EVA
from learning.facts import ANN, LUCIA, POLYGLOT
from learning.fields import BEN, SCHEMAS

TURNS = [*BEN, *ANN, *EVA, *LUCIA, *POLYGLOT, *AGENT, *SCHEMAS]

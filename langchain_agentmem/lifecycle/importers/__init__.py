"""`memory.import_from` for data of other packages: chat histories, stores and memories."""

from langchain_agentmem.lifecycle.importers.engine import import_foreign
from langchain_agentmem.lifecycle.importers.registry import FORMAT_NAMES, is_foreign

__all__ = ["FORMAT_NAMES", "import_foreign", "is_foreign"]

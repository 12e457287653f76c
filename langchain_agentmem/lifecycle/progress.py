"""Progress reports of a long operation; see `langchain_agentmem.text.progress`."""

from langchain_agentmem.text.progress import Progress, Report, progress_bar, reporting

__all__ = ["Progress", "Report", "progress_bar", "reporting"]

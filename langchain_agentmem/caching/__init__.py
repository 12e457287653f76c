"""LangGraph's cache of node and task results."""

"""Extraction: what a model proposes after it has read new messages becomes changes of a user's knowledge."""

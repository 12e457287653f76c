"""Extraction: a model reads new messages and proposes changes of a user's knowledge, which are checked and stored."""

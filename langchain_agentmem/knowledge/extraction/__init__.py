"""Extraction: what a model proposes after reading a conversation."""

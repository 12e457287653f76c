"""Checkpoints of threads."""

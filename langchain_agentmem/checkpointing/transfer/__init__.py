"""Copies of threads between two checkpointers, whichever package they are from."""

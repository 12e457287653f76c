"""A small backend in the process's memory: how a fourth backend looks. It keeps everything in dicts."""

from dict_backend.backend import DictBackend

__all__ = ["DictBackend"]

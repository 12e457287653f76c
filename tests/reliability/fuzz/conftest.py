"""The files of this folder that pytest does not collect."""

collect_ignore = ["guided.py"]
"""A program, not a module of tests. It imports atheris, which only the dependency group `fuzz` installs."""

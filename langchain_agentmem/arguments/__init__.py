"""Checks of the arguments of public methods."""

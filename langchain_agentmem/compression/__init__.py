"""Fitting conversations into a budget of tokens."""

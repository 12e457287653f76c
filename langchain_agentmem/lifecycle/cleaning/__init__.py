"""Cleaning up: data that was not used for a long time is archived and deleted."""

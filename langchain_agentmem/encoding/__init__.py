"""Conversion of values and messages to bytes and back, and the compact layout of checkpoint values."""

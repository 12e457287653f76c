"""Chat histories."""

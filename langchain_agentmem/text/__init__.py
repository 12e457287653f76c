"""Words, vectors, quoting and HTML tables."""

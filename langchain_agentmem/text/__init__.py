"""Words, stop words, vectors, and quoting."""

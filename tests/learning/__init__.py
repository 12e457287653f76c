"""A scripted conversation of a hundred turns, and what is known after it."""

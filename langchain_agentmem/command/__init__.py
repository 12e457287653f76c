"""What sits on the memory for others to use: agent middleware, HTTP API, command line."""

"""An agent that remembers its users."""

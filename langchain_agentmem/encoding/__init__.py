"""Values and messages to bytes and back."""

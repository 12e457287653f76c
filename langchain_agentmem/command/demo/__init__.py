"""The demo: it plays a conversation and prints what the memory stores."""

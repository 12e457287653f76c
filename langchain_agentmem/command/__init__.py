"""The command line: plays a conversation and prints what the memory stores."""

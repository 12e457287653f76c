"""Reading messages: content blocks, tool calls, tokens, windows."""

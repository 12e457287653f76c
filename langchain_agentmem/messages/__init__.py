"""Messages: content blocks, tool calls, properties, token counts, windows."""

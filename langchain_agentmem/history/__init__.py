"""Chat histories: the engine, and `AgentMemHistory` as its face."""

"""Variables: named values of sessions, users and agents, which prompts contain."""

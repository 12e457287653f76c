"""Text for prompts: variables, templates, and what is stored about a user."""

"""State that changed its shape: a function of the application converts stored checkpoints."""

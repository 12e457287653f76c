"""What is known: users' profiles and facts, entities, and what all may read."""

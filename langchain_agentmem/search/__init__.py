"""Ranking, embeddings, and the search of chat histories."""

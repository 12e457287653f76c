"""The knowledge graph of each user: entities and their relations."""

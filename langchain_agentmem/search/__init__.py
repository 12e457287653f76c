"""Search: ranking, embeddings, the fingerprint of the embedding model, and chat histories."""

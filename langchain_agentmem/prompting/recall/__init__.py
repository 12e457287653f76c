"""Recall: the stored knowledge that answers a message."""

"""Entities and relations of users."""

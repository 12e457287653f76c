"""Profiles and facts of users."""

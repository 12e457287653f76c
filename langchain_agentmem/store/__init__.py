"""The store: items by namespace and key."""

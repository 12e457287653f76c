"""Sessions and what becomes of them."""

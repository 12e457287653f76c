"""The page for the people who run agents, as static files and the routes that serve them."""

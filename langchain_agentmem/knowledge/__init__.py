"""Knowledge about users (profiles, facts, memories, entities), and knowledge that all users share."""

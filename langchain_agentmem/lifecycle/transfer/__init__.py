"""Transfer: a memory is exported as JSON Lines, imported, or copied into another memory."""

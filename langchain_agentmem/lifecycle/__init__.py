"""Operations on stored data: list and delete sessions, summarise, reindex, close."""

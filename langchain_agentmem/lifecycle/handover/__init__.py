"""Handing a conversation over from a session of chat history to a LangGraph thread, and back."""

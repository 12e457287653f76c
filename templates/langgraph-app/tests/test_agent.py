from my_agent.agent import build

from langchain_agentmem import AgentMemory
from langchain_agentmem.testing import ScriptedChatModel


def test_the_agent_knows_what_is_stored_about_its_user():
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        memory.profiles.add_fact("alice@example.com", "Eats no meat")
        model = ScriptedChatModel(["A mushroom pasta."] * 2)
        agent = build(memory, model, memory.checkpointer)
        for user in ("alice@example.com", "bob@example.com"):
            config = {"configurable": {"thread_id": f"{user}/1", "user_id": user}}
            agent.invoke({"messages": [("user", "What shall I cook?")]}, config)
    of_alice, of_bob = (request[0].text for request in model.requests)
    assert "Eats no meat" in of_alice
    assert "Eats no meat" not in of_bob


def test_a_thread_continues():
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        model = ScriptedChatModel(["Hello!", "You are Alice."])
        agent = build(memory, model, memory.checkpointer)
        config = {"configurable": {"thread_id": "1", "user_id": "alice@example.com"}}
        agent.invoke({"messages": [("user", "I am Alice")]}, config)
        state = agent.invoke({"messages": [("user", "Who am I?")]}, config)
    assert [message.text for message in state["messages"]] == ["I am Alice", "Hello!", "Who am I?", "You are Alice."]

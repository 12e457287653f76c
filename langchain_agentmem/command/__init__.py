"""The command line: `agentmem`, and the demo of `python -m langchain_agentmem`."""

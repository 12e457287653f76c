"""Arguments of public methods: their types, defaults and checks."""

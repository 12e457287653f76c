"""Templates: tags such as `{{user_name}}` in the texts of a prompt, which memory fills in."""

"""The language described from its declarations: the reference page, the JSON schema, and what `mixc explain` tells."""

"""Rules: what is wrong though every field is well formed."""

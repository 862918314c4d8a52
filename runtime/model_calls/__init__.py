"""Asking models: served ones through Inspect's model API, and our own weights; every answer is stored as it comes."""

"""Keeps short documents."""

"""Checked declarations in, a plan out; a plan's step in, a JAX program out."""

"""The language: text in, checked declarations out. Imports nothing of the project, no numpy, no JAX."""

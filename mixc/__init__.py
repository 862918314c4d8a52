"""mixc: a declarative language for alignment-training data mixes and studies."""

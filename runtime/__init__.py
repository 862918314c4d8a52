"""Runs plans: data, training, evaluations, the store of steps, reports."""

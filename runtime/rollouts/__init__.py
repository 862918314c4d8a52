"""Answers that a policy is trained on: sampled, judged, written down, and laid out as a batch."""

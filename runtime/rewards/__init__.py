"""What sampled answers are worth: by a judge, a pattern, a plug-in, or a weighted sum of these."""

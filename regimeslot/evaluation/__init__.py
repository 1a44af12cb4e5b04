"""Evaluation: walk-forward, scores, comparison, recovery of known truths, and whole runs."""

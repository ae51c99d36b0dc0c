"""Evaluator: judges the exported generator and blesses it, or not."""

"""Angiographic runs with known truth: a coronary tree that moves and fills with contrast, seen by a C-arm."""

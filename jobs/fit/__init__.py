"""Fitting the generators' own models."""

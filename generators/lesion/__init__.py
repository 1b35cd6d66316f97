"""Plaques and tumours put into CT and measured again: ``generator.LesionGenerator``; backends are ``filler.Filler``."""

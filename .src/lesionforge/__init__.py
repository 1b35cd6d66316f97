"""Training data that does not exist, for coronary and lesion imaging."""

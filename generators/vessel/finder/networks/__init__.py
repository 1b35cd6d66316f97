"""The finder's network, as it learns and as it finds. Needs torch."""

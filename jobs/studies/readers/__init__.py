"""A reading test: people tell drawn lesions from real ones, crop by crop (the visual Turing test)."""

"""How well a small network tells generated lesions from real ones, and by what."""

"""One subject through two modalities: a plaque in a CT volume, and the same plaque in coronary angiograms."""

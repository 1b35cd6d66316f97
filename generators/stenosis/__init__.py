"""Stenoses of chosen severity drawn into real angiograms (DiGDA's task), and re-measured."""

"""Stenoses of chosen severity drawn into real angiograms (DiGDA's task) and measured again.

``generator.StenosisGenerator``; backends are ``editor.Editor``.
"""

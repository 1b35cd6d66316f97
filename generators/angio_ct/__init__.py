"""One subject through two modalities: a plaque in a CT volume, and the same plaque in coronary angiograms.

``generator.AngioCt`` on ``lesion``, ``carm`` and ``phantom.angiogram``; ``shadow`` measures each plaque in each view.
"""

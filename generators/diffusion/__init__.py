"""What learned backends share: a fitted model's folder, sampling, full batches. Nothing imports torch before use.

``model``: ``FittedModel``, ``FittedSettings``, ``fresh_weights``. ``sampling``: ``cosine``, ``denoise``, ``guided``.
``batches``: ``chunks``, ``filled``, ``stacked``, ``fixed_kernels``, ``placed``.
"""

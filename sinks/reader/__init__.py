"""Reading committed datasets for training: shuffled, split over ranks and workers, resumable, a few lines of use.

``Samples`` is the map (``samples[i]``), ``Reader`` the stream, ``loader`` the stream through torch's worker processes;
``collate`` makes tensors of a batch::

    from lesionforge.sinks.reader import Reader, Samples, loader

    real = Samples("s3://bucket/real", split="train", members=["image.png", "json"])
    synthetic = Samples("synthetic", split="train", members=["image.png", "json"])
    reader = Reader([real, synthetic], shares=[1, 1], batch=32, seed=0, rank=rank, ranks=ranks, drop_last=True)
    while reader.epoch < 50:
        for batch in loader(reader, workers=2):  # or `in reader`: threads only, no torch
            ...
            checkpoint["data"] = reader.state()  # four integers; after a restart: reader.resume(checkpoint["data"])
"""

from lesionforge.sinks.reader.loader import collate, loader
from lesionforge.sinks.reader.reader import Reader
from lesionforge.sinks.reader.samples import Sample, Samples

__all__ = ["Reader", "Sample", "Samples", "collate", "loader"]

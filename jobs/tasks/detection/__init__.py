"""The downstream task of the stenosis generator: detectors, their scores, and the study that compares training sets."""

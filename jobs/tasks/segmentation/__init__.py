"""The downstream task of the lesion generator: segmentation networks, their scores, and the study of training sets."""

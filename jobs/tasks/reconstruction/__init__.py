"""Coronary trees in 3-D from two X-rays or more (XRA-Diff's task): ``task.Reconstruction``."""

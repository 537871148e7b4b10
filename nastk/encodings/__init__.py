"""Encodings: what of an architecture a predictor sees, one file each; ``nastk.encoding("vec+zcp")`` makes one."""

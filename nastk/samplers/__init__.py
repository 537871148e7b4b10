"""Samplers: which architectures to measure on a device of which nothing is known yet."""

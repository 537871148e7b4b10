"""Samplers: which architectures to measure on a new device."""

"""Runtimes: what runs a network on a device, so that it can be timed, checked and exported."""

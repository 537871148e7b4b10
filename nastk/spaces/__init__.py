"""Search spaces, one file each; ``nastk.space(name)`` makes one, ``nastk.space_of(network)`` derives one."""

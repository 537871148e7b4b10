"""What gradients search by: logits of choices by preference and device, and architectures drawn from them.

Generators (:mod:`nastk.generators`) are made of these parts, and so is the supernet that MODNAS trains in turns with a
hypernetwork (:mod:`nastk.supernets.modnas`).
"""

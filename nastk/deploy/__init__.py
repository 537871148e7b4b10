"""From a chosen network to files that ship: formats, their check, the model card."""

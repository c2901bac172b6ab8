"""Data sets as tensors on the device, and the loaders that yield their batches."""

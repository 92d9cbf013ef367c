"""Noisy devices: QKANs trained with and without their noise, and how good and fast everything on the way is."""

"""Images: one convolutional body, and heads of all kinds on it."""

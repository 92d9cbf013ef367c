"""Language: small transformers of characters whose feed-forwards are perceptrons, HQKANs or a KAN, at equal tokens."""

"""What a client computes from the global weights, and what the server does with the sums: one algorithm a file."""

"""How the sums of nodes become the sum of a cohort: one aggregation a file, exact whatever the split."""

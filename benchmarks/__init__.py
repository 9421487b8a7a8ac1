"""Speed against other systems, each on the same work in the same minutes (docs/performance.md)."""

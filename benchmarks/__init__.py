"""How fast attention is, beside what else one could call; not installed with the package."""

"""organism.yaml and the environment, turned once into frozen structs. No other room imports this one but ``app``."""

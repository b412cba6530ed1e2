"""What all partitions of a cluster share in a database."""

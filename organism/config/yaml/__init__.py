"""YAML to types, with the file and the line in every error."""

"""Reading answers of any vendor: event streams, decoding, collecting, finish reasons."""

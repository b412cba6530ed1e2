"""What vendors' answers have in common: event streams, decoding, collecting, finish reasons."""

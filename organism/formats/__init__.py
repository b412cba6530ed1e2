"""Vendors' formats, each in one home: what it asks and answers as a client, and as a server. Pure."""

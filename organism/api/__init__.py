"""The local HTTP interface of a running organism: open threads, read their state, follow usage events."""

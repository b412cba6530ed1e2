"""One run of a handler: what it may use, how it is cut short, how it ends, what it sends."""

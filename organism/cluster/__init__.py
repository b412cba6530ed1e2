"""Several processes as one organism: its partitions, each a whole journal, spread over nodes that may come and go."""

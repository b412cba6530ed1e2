"""What has happened lately, for those who look: messages, costs, ended threads, and how much flows between agents."""

"""What vendors' errors and refusals mean, and how they are written."""

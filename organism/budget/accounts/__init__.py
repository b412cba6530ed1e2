"""What is known of accounts beside their balances."""

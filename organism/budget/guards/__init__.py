"""What stops spending beside limits: an operator's freeze, and breakers of calls that go round and round."""

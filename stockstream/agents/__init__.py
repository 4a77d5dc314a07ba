"""What a worker does with the topics it reads."""

"""What an operator does with a deployed stack, on AWS and on the local cloud alike."""

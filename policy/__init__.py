"""The policy pack: what an event gateway on AWS must hold, whoever wrote the program."""

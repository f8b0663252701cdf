"""What the rules refuse: per concern, mutants of programs that they accept."""

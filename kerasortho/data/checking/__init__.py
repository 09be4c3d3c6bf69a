"""What is wrong with a dataset, what it will tell, and what a user may do about it."""

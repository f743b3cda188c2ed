"""What a user can ask for: audit, compare, control, explain, and what each will cost."""

"""Labs: exactly solvable cases in which theory and actual training are laid side by side."""

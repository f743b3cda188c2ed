"""Study: design, statistics, verdict, planner."""

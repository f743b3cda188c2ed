"""What is tried on the arms of an audit: controls, the search among their settings, interventions."""

"""campaign-console: plan, schedule and archive marketing campaigns, and see what happened to each."""

"""Workers of the speed benchmark that run in an environment of their own and import nothing of ours."""

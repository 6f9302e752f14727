"""What runs on a keep: the environment of loaders, the offline decision, commands, the demo."""

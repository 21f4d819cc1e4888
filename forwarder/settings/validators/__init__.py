"""The validators of settings. Each raises ValueError with the end of a sentence that starts with the setting's name."""

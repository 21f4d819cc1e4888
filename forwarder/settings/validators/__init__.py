"""The validators of single settings. Each raises ValueError with the end of a sentence that starts with the field."""

"""The logs API: its client, its dialects, its pace."""

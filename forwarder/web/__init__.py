"""The page, the doors for machines and the nudge, served by the daemon beside its loops."""

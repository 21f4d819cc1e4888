"""The web UI, the health endpoints and the webhook, which the daemon serves beside its loops."""

"""Admission: an HTTPS server that puts the sidecar into labelled pods, and refuses objects of ours with a mistake.

It keeps no state and has no access to the cluster: everything it decides on is in the review that it is sent.
"""

from mtls_operator.webhook.server import serve
from mtls_operator.webhook.settings import (
    InvalidWebhookSettings,
    WebhookSettings,
    add_arguments,
    settings_from,
)

__all__ = ["InvalidWebhookSettings", "WebhookSettings", "add_arguments", "serve", "settings_from"]

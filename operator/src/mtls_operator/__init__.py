"""Client-certificate mTLS for any HTTP service on Kubernetes."""

__version__ = "0.1.0"

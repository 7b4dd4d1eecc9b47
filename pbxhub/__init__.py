"""pbxhub: the stages of a call on your Asterisk become the HTTP requests you set up."""

__version__ = "0.1.0"
